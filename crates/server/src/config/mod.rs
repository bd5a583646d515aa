//! The configuration: one typed structure, from a file, then the environment, then flags.
//! Everything is checked before a port is bound.

mod keys;
mod load;
mod reread;
mod rules;
mod suggest;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidewire_auth::Secret;
use tidewire_log::RetentionRules;

use crate::AllowedOrigins;
use crate::tls::TlsFiles;

pub use keys::{KEYS, Key};
pub use load::{ConfigError, ENVIRONMENT_PREFIX, Sources};
pub(crate) use reread::{Change, Reread};
pub(crate) use suggest::nearest;

/// What the hub is told at start. Made by [`Config::load`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Whether this is a hub for development: loopback only, anonymous reading and publishing.
    pub dev: bool,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where health and metrics are.
    pub admin_listen: SocketAddr,
    /// The log's folder.
    pub data_dir: PathBuf,
    /// The URL by which clients know the hub. `None` only with `dev`: then that of `listen`.
    pub public_url: Option<PublicUrl>,
    /// The secret of the tokens (HS256). `None` only with `dev`: then no token is valid.
    pub key: Option<Secret>,
    /// The certificate and key of the public listener, where that speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Whether public events may be read without a token.
    pub anonymous: bool,
    /// The other origins whose pages may use the hub.
    pub cors_origins: AllowedOrigins,
    /// What an event is before it is shown.
    pub durability: Durability,
    /// What the log keeps with [`Durability::Memory`], in bytes.
    pub memory_bytes: usize,
    /// Threads that serve streams.
    pub shards: usize,
    /// No stream is silent for longer.
    pub heartbeat: Duration,
    /// How long a stream may make no progress before it is closed.
    pub stall_timeout: Duration,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long a connection may stand idle between two requests.
    pub idle_timeout: Duration,
    /// Requests on a connection.
    pub connection_requests: usize,
    /// How long a stream may wait to be decided on.
    pub decide_timeout: Duration,
    /// After how long a client is told to reconnect; each is told up to a quarter more or less.
    pub retry: Duration,
    /// Streams at a time. `None`: as many as open files allow.
    pub max_streams: Option<usize>,
    /// Streams at a time from one address. `None`: as many as there may be.
    pub max_streams_per_address: Option<usize>,
    /// Connections at a time that are not streams.
    pub max_connections: usize,
    /// Requests at a time on an HTTP/2 connection, streams among them.
    pub http2_max_streams: u32,
    /// An event's data, in bytes.
    pub event_bytes: usize,
    /// A request's body, in bytes.
    pub body_bytes: usize,
    /// What the bodies under way take of memory, in bytes.
    pub bodies_in_flight_bytes: usize,
    /// Events in one request.
    pub batch_events: usize,
    /// What the tail keeps in memory, in bytes.
    pub tail_bytes: usize,
    /// A file of the log, in bytes.
    pub segment_bytes: u64,
    /// What the log keeps on disk, in bytes. `None`: 10 GiB, or 80 % of the file system if that is less.
    pub retention_bytes: Option<u64>,
    /// For how long the log keeps an event.
    pub retention_age: Duration,
    /// The topics whose events are kept for less long. Patterns are relative to `public_url`.
    pub retention_rules: RetentionRules,
    /// The age that events may gain at most while the hub does not run.
    pub retention_catch_up: Duration,
    /// By when the bytes of what was erased are overwritten.
    pub erase_within: Duration,
    /// How much of the log's full files is read in a second to check it, in bytes; 0 checks nothing.
    pub scrub_rate: u64,
    /// What may wait to be committed, in bytes.
    pub append_queue_bytes: usize,
    /// For how long a publisher's id stands for the event first published with it.
    pub idempotence_window: Duration,
    /// Publishers' ids that a log in memory holds for that window.
    pub idempotence_entries: usize,
    /// How long a hub that is told to stop goes on as before.
    pub drain_delay: Duration,
    /// Over how long streams are then ended. `None`: they are left to end by themselves.
    pub drain_timeout: Option<Duration>,
    /// After how long a thread that has work and does nothing is stuck.
    pub stuck_after: Duration,
    /// What is told on standard error.
    pub log_level: LogLevel,
    /// How it is told.
    pub log_format: LogFormat,
    /// Which requests it is told of.
    pub request_log: RequestLogging,
    /// From where it is read again.
    sources: Sources,
    settings: keys::Settings,
    texts: load::Texts,
}

impl Config {
    /// The URL of the public listener on this address.
    #[must_use]
    pub fn url_of(&self, address: SocketAddr) -> PublicUrl {
        PublicUrl::of_address(address, self.tls.as_ref())
    }
}

/// What an event is before subscribers see it and its publisher is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to disk.
    Commit,
    /// With the operating system: a killed process loses nothing, a power cut may.
    Os,
    /// In memory. A restart forgets everything.
    Memory,
}

/// What is told on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What stops the hub.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what the hub does.
    Info,
    /// And what is of use to the hub's developers.
    Debug,
}

/// How the hub tells what it tells on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line of text each.
    Text,
    /// A line of JSON each.
    Json,
}

/// Which requests and streams a line is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RequestLogging {
    /// None.
    None,
    /// Those that are refused or fail.
    Refused,
    /// All of them: one line for a request, two for a stream.
    All,
}

/// An absolute `http` or `https` URL, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL of an address, over TLS if there are files for it.
    fn of_address(address: SocketAddr, tls: Option<&TlsFiles>) -> PublicUrl {
        let scheme = if tls.is_some() { "https" } else { "http" };
        PublicUrl(format!("{scheme}://{address}"))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
