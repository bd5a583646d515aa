//! Shard threads: each owns its listener, its connections and their readiness, and drives a
//! [`tidewire_core::Shard`], which holds the rules. The engine knows no token and no status code:
//! whoever embeds it says by [`Admit`] what becomes of a request head.

mod accepting;
mod admit;
mod clock;
mod config;
mod heads;
mod inspect;
mod listen;
mod mailbox;
mod pool;
mod reactor;
mod stats;
mod streams;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tidewire_log::{EventLog, Tail};

pub use admit::{Admission, Admit, HandOver, Head, Refusal};
pub use config::{EngineConfig, Listeners};
pub use inspect::{Connection, ConnectionId, ConnectionPlace, Connections, NoAnswer, ParseConnectionIdError};
pub use stats::EngineStats;
pub use tidewire_core::StreamStart;

use mailbox::{Mailbox, Message};
use pool::Pool;
use reactor::{Reactor, Shared};
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
    /// A thread or its poll could not be made.
    #[error("failed to start a shard")]
    Shard(#[source] std::io::Error),
}

/// The running shards.
pub struct Engine {
    handle: EngineHandle,
    address: SocketAddr,
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
        let (address, listeners) = listen::bind(config.listen, shards, config.listeners)?;
        let stats = Arc::new(Stats::default());
        let readers = Pool::start("log-reader", pool::READ_THREADS, shards).map_err(StartError::Shard)?;
        let seekers = Pool::start("place-seeker", pool::PLACE_THREADS, shards).map_err(StartError::Shard)?;
        let listening = config.listeners;
        let (counted, held) = (Arc::clone(&stats), AtomicUsize::new(0));
        let shared = Arc::new(Shared { config, log, tail, admit, hand_over, readers, seekers, stats: counted, held });
        let reactors = listeners.into_iter().map(|listener| Reactor::new(listener, Arc::clone(&shared)));
        let mut reactors: Vec<_> = reactors.collect::<Result<_, _>>().map_err(StartError::Shard)?;
        let mailboxes: Arc<[_]> = reactors.iter().map(|(_, mailbox)| Arc::clone(mailbox)).collect();
        if let (Listeners::One, [(first, _), _, ..]) = (listening, &mut *reactors) {
            first.accepting.deal_to(Arc::clone(&mailboxes));
        }
        let handle = EngineHandle { mailboxes, stats, next: Arc::default() };
        let mut engine = Engine { handle, address, threads: Vec::new() };
        for (number, (reactor, mailbox)) in reactors.into_iter().enumerate() {
            shared.tail.watch(move || mailbox.tell_news());
            match std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || reactor.run()) {
                Ok(thread) => engine.threads.push(thread),
                Err(error) => {
                    engine.stop();
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

    /// The address listened on, with its real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listeners, writes what is owed to those who take it, ends every stream at a
    /// frame boundary with its last chunk, and returns when the shards have stopped.
    pub fn stop(self) {
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
    /// Gives a connection to a shard: one that was handed over and has now turned into an event
    /// stream. `bytes` hold its request head and whatever was read after it.
    pub fn adopt(&self, socket: TcpStream, bytes: Vec<u8>, peer: SocketAddr) {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        self.mailboxes[number].post(Message::Adopt(socket, bytes, peer));
    }

    /// The shards' figures, summed.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        self.stats.read()
    }
}
