//! Shard threads: each owns its listener, its connections and their readiness, and drives a
//! [`tidewire_core::Shard`], which holds the rules. The engine knows no token and no status code:
//! whoever embeds it says by [`Admit`] what becomes of a request head.

mod accepting;
mod addresses;
mod admit;
mod clock;
mod closing;
mod config;
mod drain;
mod heads;
mod inspect;
mod introduction;
mod listen;
mod mailbox;
mod pipe;
mod pool;
mod reactor;
mod socket;
mod stats;
mod streams;
mod tls;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use tidewire_core::Stagger;
use tidewire_log::{EventLog, Tail};

pub use admit::{Admission, Admit, Decide, End, HandOver, Head, News, Refusal, Work};
pub use config::{EngineConfig, Listeners, Opening};
pub use heads::{HEADERS_MAX, HTTP2_PREFACE};
pub use inspect::{Carried, Connection, ConnectionId, ConnectionPlace, Connections, NoAnswer, ParseConnectionIdError};
pub use listen::Listen;
pub use pipe::{PIPE_BYTES_MAX, PipeReader, Piped};
pub use pool::JOBS_A_SHARD_MAX;
pub use socket::Socket;
pub use stats::EngineStats;
pub use tidewire_core::{ClientAddress, Lag, StreamStart};
pub use tls::{TLS_HELD_BYTES_MAX, TlsSocket};

use addresses::Addresses;
use drain::Turns;
use listen::Bound;
use mailbox::{Mailbox, Message};
use pool::Pool;
use reactor::{Deciders, Reactor, Shared};
use stats::Stats;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens on the address.
    #[error("{address} is in use: stop what listens there, or choose another address")]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A socket that listens already cannot be used.
    #[error("failed to use a socket that listens")]
    Socket(#[source] std::io::Error),
    /// A thread or its poll could not be made.
    #[error("failed to start a shard")]
    Shard(#[source] std::io::Error),
}

/// The running shards.
pub struct Engine {
    handle: EngineHandle,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

/// A way to reach the shards from elsewhere.
#[derive(Clone)]
pub struct EngineHandle {
    mailboxes: Arc<[Arc<Mailbox>]>,
    stats: Arc<Stats>,
    next: Arc<AtomicUsize>,
}

impl Engine {
    /// Listens, and starts the shard threads. The tail must already be following the log.
    ///
    /// # Errors
    /// When the address is taken or cannot be listened on, or a thread cannot be started.
    pub fn start(
        config: EngineConfig,
        log: Arc<dyn EventLog>,
        tail: Arc<Tail>,
        admit: Arc<dyn Admit>,
        hand_over: HandOver,
    ) -> Result<Engine, StartError> {
        let shards = config.shards.max(1);
        let Bound { addresses, doors } = listen::bind(&config.listen, shards, config.listeners)?;
        let stats = Arc::new(Stats::default());
        let readers = Pool::start("log-reader", pool::READ_THREADS, shards).map_err(StartError::Shard)?;
        let decider = |name| Pool::start(name, pool::DECIDE_THREADS, shards).map_err(StartError::Shard);
        let deciders = Deciders { readers: decider("head-reader")?, seekers: decider("place-seeker")? };
        let (counted, held, promised) = (Arc::clone(&stats), AtomicUsize::new(0), AtomicU64::new(0));
        let counted_addresses = config.max_streams_per_address.map(Addresses::new);
        let shared = Arc::new(Shared {
            config,
            log,
            tail,
            admit,
            hand_over,
            readers,
            deciders,
            stats: counted,
            held,
            promised,
            addresses: counted_addresses,
        });
        let reactors = doors.into_iter().zip(0..);
        let reactors = reactors.map(|(doors, number)| Reactor::new(number, doors, Arc::clone(&shared)));
        let mut reactors: Vec<_> = reactors.collect::<Result<_, _>>().map_err(StartError::Shard)?;
        let mailboxes: Arc<[_]> = reactors.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect();
        if let [(first, _), _, ..] = &mut *reactors {
            first.accepting.deal_to(Arc::clone(&mailboxes));
        }
        let handle = EngineHandle { mailboxes, stats, next: Arc::default() };
        let mut engine = Engine { handle, addresses, threads: Vec::new() };
        for (number, (reactor, mailbox)) in reactors.into_iter().enumerate() {
            shared.tail.watch(move || mailbox.tell_news());
            match std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || reactor.run()) {
                Ok(thread) => engine.threads.push(thread),
                Err(error) => {
                    engine.join();
                    return Err(StartError::Shard(error));
                }
            }
        }
        Ok(engine)
    }

    /// A way to reach the shards from elsewhere.
    #[must_use]
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// The addresses of TCP listened on, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Ends the streams, evenly over this time, or leaves them to end by themselves if there is none. Each is given what
    /// was committed before its end as far as its socket takes it, and ends between two frames, with a time to come back
    /// and the reason. Who still has not taken it all a second after the time ends there, in the middle of a frame
    /// without a last chunk. Meanwhile connections are accepted; a stream that is asked for has an answer like any
    /// other, and ends as it begins. Returns when there are no streams.
    pub fn drain(&self, over: Option<Duration>) {
        let (drained, is_drained) = sync_channel(1);
        let stagger = Stagger::new(self.handle.stats().streams, over.map(reactor::millis));
        let turns = Turns::new(stagger, drained);
        for mailbox in self.handle.mailboxes.iter() {
            mailbox.post(Message::Drain(Arc::clone(&turns)));
        }
        drop(turns);
        // Nothing is ever sent: this is over when no shard has turns to take.
        is_drained.recv().unwrap_or_default();
    }

    /// Ends what streams there are at once, as [`Engine::drain`] does, closes the listeners, and returns when the shards
    /// have stopped.
    pub fn stop(self) {
        self.drain(Some(Duration::ZERO));
        self.join();
    }

    fn join(self) {
        for mailbox in self.handle.mailboxes.iter() {
            mailbox.post(Message::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard thread panicked");
            }
        }
    }
}

impl EngineHandle {
    /// Gives a connection to a shard: one that was handed over and has now turned into an event stream, as `admit` says
    /// on the shard. Everything before the stream is answered, and nothing that is behind the request for it is wanted.
    pub fn adopt(&self, socket: impl Into<Socket>, admit: Decide, peer: ClientAddress) {
        self.next_mailbox().post(Message::Adopt(socket.into(), Some(admit), peer));
    }

    /// Gives a connection to a shard, which reads the heads on it: one whose handshake is over.
    pub fn read_from(&self, socket: impl Into<Socket>, peer: ClientAddress) {
        self.next_mailbox().post(Message::Adopt(socket.into(), None, peer));
    }

    /// Begins a stream that has no socket, for whoever is at this address, as `admit` says on the shard. Its `head` must be
    /// empty: how the request is answered is the reader's business, once it has bytes or is refused.
    #[must_use]
    pub fn open(&self, admit: Decide, peer: ClientAddress) -> PipeReader {
        let (writer, reader) = pipe::pipe(peer);
        self.next_mailbox().post(Message::Open(writer, admit));
        reader
    }

    fn next_mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len()]
    }

    /// How often each shard has turned. A shard that does not stand still turns ten times a second, though it has nothing
    /// to do.
    #[must_use]
    pub fn turns(&self) -> Vec<u64> {
        self.mailboxes.iter().map(|mailbox| mailbox.turns()).collect()
    }

    /// How far the streams of all shards were behind when each was last looked at: at most half a heartbeat ago.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let mut lag = Lag::default();
        self.mailboxes.iter().for_each(|mailbox| lag.add(mailbox.lag()));
        lag
    }

    /// The shards' figures, summed.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.stats.read()
    }
}
