use std::sync::atomic::{AtomicU64, Ordering};

use tidewire_core::GapReason;

/// What the shards have done, as plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Failures to accept, for want of descriptors above all.
    pub accept_failures: u64,
    /// How often connections had to wait since there were `max_sockets`.
    pub accept_pauses: u64,
    /// Connections handed over.
    pub handed_over: u64,
    /// Connections that came back, or whose handshake is over.
    pub adopted: u64,
    /// Connections closed with an answer before they became anything.
    pub refused: u64,
    /// Connections refused since too many waited to be decided on.
    pub undecided_refused: u64,
    /// Connections refused since it took longer than `decide_timeout` to decide on them.
    pub undecided_timeouts: u64,
    /// Streams open now.
    pub streams: u64,
    /// Of them, those over TLS.
    pub tls_streams: u64,
    /// Of them, those without a socket ([`EngineHandle::open`](crate::EngineHandle::open)).
    pub piped_streams: u64,
    /// Streams begun.
    pub streams_begun: u64,
    /// Streams ended because the hub stops.
    pub streams_drained: u64,
    /// Streams that were ended as they began, since the hub was stopping.
    pub streams_turned_away: u64,
    /// Frames finished.
    pub deliveries: u64,
    /// Bytes written to streams.
    pub sent_bytes: u64,
    /// Writes to streams.
    pub writes: u64,
    /// Writes that took less than they were given.
    pub short_writes: u64,
    /// Heartbeats and checkpoints written for silence.
    pub heartbeats: u64,
    /// Streams closed because they took nothing.
    pub stalls: u64,
    /// Reads from the log for those older than the tail.
    pub catch_up_reads: u64,
    /// Reads from the log that failed.
    pub read_failures: u64,
    /// Gaps told at the beginning of a stream, by [`GapReason::index`].
    pub gaps: [u64; GapReason::ALL.len()],
}

macro_rules! stats {
    ($($name:ident),* $(,)?) => {
        /// The counters behind [`EngineStats`].
        #[derive(Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: AtomicU64,)*
            pub(crate) gaps: [AtomicU64; GapReason::ALL.len()],
        }

        impl Stats {
            pub(crate) fn read(&self) -> EngineStats {
                EngineStats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    gaps: std::array::from_fn(|reason| self.gaps[reason].load(Ordering::Relaxed)),
                }
            }
        }
    };
}

stats!(
    accepted,
    accept_failures,
    accept_pauses,
    handed_over,
    adopted,
    refused,
    undecided_refused,
    undecided_timeouts,
    streams,
    tls_streams,
    piped_streams,
    streams_begun,
    streams_drained,
    streams_turned_away,
    deliveries,
    sent_bytes,
    writes,
    short_writes,
    heartbeats,
    stalls,
    catch_up_reads,
    read_failures,
);

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
