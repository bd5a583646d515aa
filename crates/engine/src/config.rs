use std::net::SocketAddr;
use std::time::Duration;

use tidewire_core::TrustedProxies;

use crate::Listen;

/// What the engine is told.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// How many shard threads.
    pub shards: usize,
    /// The longest silence on a stream.
    pub heartbeat: Duration,
    /// The longest time without write progress, and `TCP_USER_TIMEOUT`.
    pub stall_timeout: Duration,
    /// The longest time from a connection's first moment to a whole request head.
    pub head_timeout: Duration,
    /// The longest request head, in bytes.
    pub head_bytes_max: usize,
    /// How many heads a shard keeps that are unfinished, or longer than 4 KiB and not decided.
    pub head_buffers_max: usize,
    /// How many heads a shard keeps whose admission waits for a thread of the pool; more are refused.
    pub undecided_max: usize,
    /// The longest time that it may take to decide on a head; then it is refused.
    pub decide_timeout: Duration,
    /// The most event streams at a time, over all shards.
    pub max_streams: usize,
    /// The most of them from one address, which is a /64 of IPv6; none: as many as `max_streams`. Whoever comes through
    /// a Unix socket has no address.
    pub max_streams_per_address: Option<usize>,
    /// The most sockets that the shards hold at a time, all together: streams, and connections that are
    /// nothing yet. At the limit others wait to be accepted, and cost no descriptor. A stream without a socket counts as
    /// well: whoever carries it has one.
    pub max_sockets: usize,
    /// Who accepts.
    pub listeners: Listeners,
    /// Those whose connections begin with a header of the PROXY protocol.
    pub introducers: TrustedProxies,
    /// What a connection begins with.
    pub opening: Opening,
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// A request's head, which the shard reads.
    #[default]
    Head,
    /// A handshake, for which it is handed over at once. It is given to a shard afterwards. While nobody takes more, others
    /// wait to be accepted.
    Handshake,
}

/// Who accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners {
    /// Each shard has a listener of its own, and the system spreads connections over them.
    OneEach,
    /// The first shard accepts, and deals connections out in turn.
    One,
}

impl Default for Listeners {
    /// Elsewhere than on Linux and FreeBSD, the system gives all connections to one of the listeners that
    /// share an address, or does not let them share it.
    fn default() -> Listeners {
        if cfg!(any(target_os = "linux", target_os = "freebsd")) { Listeners::OneEach } else { Listeners::One }
    }
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 7788)).into()],
            shards: 1,
            heartbeat: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(120),
            head_timeout: Duration::from_secs(10),
            head_bytes_max: 64 * 1024,
            head_buffers_max: 1024,
            undecided_max: 16 * 1024,
            decide_timeout: Duration::from_secs(30),
            max_streams: 1_000_000,
            max_streams_per_address: None,
            max_sockets: 1_000_000,
            listeners: Listeners::default(),
            introducers: TrustedProxies::default(),
            opening: Opening::default(),
        }
    }
}
