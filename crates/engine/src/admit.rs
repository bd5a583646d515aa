use std::net::SocketAddr;

use tidewire_core::StreamStart;

use crate::{ConnectionId, Socket};

/// A request head, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The request target.
    pub target: &'a str,
    /// The minor version of HTTP/1.
    pub version_minor: u8,
    /// The header fields, in order.
    pub headers: &'a [httparse::Header<'a>],
    /// Who asks.
    pub peer: SocketAddr,
}

/// Says what becomes of a request head. Called on a shard: it must not wait.
pub trait Admit: Send + Sync + 'static {
    /// What becomes of this head.
    fn admit(&self, head: &Head<'_>) -> Admission;

    /// The whole answer to a connection from `peer` that is then closed.
    fn refuse(&self, refusal: Refusal, peer: SocketAddr) -> Vec<u8>;

    /// After how many milliseconds a client whose stream is ended is to come back; each is told another time.
    fn retry_ms(&self) -> u64;

    /// Whether [`Admit::tell`] is to be called: what it is told costs something to find.
    fn listens(&self) -> bool {
        false
    }

    /// Is told when streams begin and end.
    fn tell(&self, _news: &News<'_>) {}
}

/// What became of a stream.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// It begins.
    Begun {
        /// Its name from now on.
        id: ConnectionId,
        /// Who asked.
        peer: SocketAddr,
        /// The request's head, and what came after it; nothing if it was asked for elsewhere.
        head: &'a [u8],
        /// Who the subscriber said it is.
        subject: Option<&'a str>,
    },
    /// It was ended as it began, since the hub stops.
    TurnedAway {
        /// Who asked.
        peer: SocketAddr,
        /// The request's head, and what came after it; nothing if it was asked for elsewhere.
        head: &'a [u8],
    },
    /// It has ended.
    Ended {
        /// Its name.
        id: ConnectionId,
        /// Who asked, if that is still known.
        peer: Option<SocketAddr>,
        /// Who the subscriber said it is.
        subject: Option<&'a str>,
        /// What ended it.
        why: End,
        /// How many events were written to it whole, up to what the number holds.
        deliveries: u32,
        /// How long it lasted, in seconds.
        age_s: u64,
    },
}

/// What ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its client closed it.
    Client,
    /// Its connection failed.
    Connection,
    /// Its client said too much on it.
    Talk,
    /// Its client took nothing for `stall_timeout`.
    Stall,
    /// It was ended by [`crate::EngineHandle::end`].
    Order,
    /// The hub stops.
    Stop,
    /// The rest of an event that it had half of is gone.
    Torn,
    /// The log could not be read for it, or the system refused.
    Failure,
}

impl End {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Connection => "connection",
            End::Talk => "talk",
            End::Stall => "stall",
            End::Order => "order",
            End::Stop => "stop",
            End::Torn => "torn",
            End::Failure => "failure",
        }
    }
}

/// What becomes of a request head.
pub enum Admission {
    /// It is an event stream.
    Stream(StreamStart),
    /// It takes long to know: the engine runs this on a thread for such work.
    Later(Work, Decide),
    /// It is for somebody else.
    HandOver,
}

/// What says what becomes of a connection whose head is not at hand any more.
pub type Decide = Box<dyn FnOnce() -> Admission + Send>;

/// Why it takes long to know what becomes of a head. Each has a thread of its own, so that neither keeps the other waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The head takes long to read.
    Reading,
    /// A place is sought in the log, which may wait for a disk. Nothing is put off again after it.
    Seeking,
}

impl Work {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 2;
}

/// Why a connection is closed with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head was not whole within `head_timeout`, or others needed its buffer.
    HeadTimeout,
    /// The head is longer than `head_bytes_max`, or has too many fields.
    HeadTooLarge,
    /// What came is no HTTP/1 request head.
    HeadMalformed,
    /// There are `max_streams` streams.
    TooManyStreams,
    /// There are `max_streams_per_address` streams from the client's address.
    TooManyStreamsPerAddress,
    /// There are `undecided_max` heads on which it takes long to decide.
    TooManyUndecided,
    /// It took longer than `decide_timeout` to decide on the head.
    UndecidedTimeout,
    /// Nobody takes what is handed over.
    TooManyConnections,
    /// The log could not be read.
    LogUnreadable,
}

/// Takes a connection which is not an HTTP/1.1 event stream, with the bytes read from it, or one of which nothing was
/// read ([`Opening::Handshake`](crate::Opening)). Who can take no more gives the socket back: to be refused with
/// [`Refusal::TooManyConnections`], or to be offered again.
pub type HandOver = Box<dyn Fn(Socket, Vec<u8>, SocketAddr) -> Result<(), Socket> + Send + Sync>;
