use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tidewire_core::{CatchUpRead, SlotKey};
use tidewire_log::ReadError;

use crate::Admission;
use crate::heads::HeadKey;

/// What others tell a shard.
pub(crate) enum Message {
    /// A connection comes back.
    Adopt(TcpStream, Vec<u8>, SocketAddr),
    /// An admission that had to wait is decided.
    Decided(HeadKey, Admission),
    /// A read from the log is done.
    CaughtUp(SlotKey, Result<CatchUpRead, ReadError>),
    /// Deliver what is owed, then end.
    Stop,
}

/// A shard's letters. They are bounded without a limit of their own: each carries a socket or
/// answers one of the shard's bounded jobs.
pub(crate) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    waker: mio::Waker,
    is_asleep: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox { messages: Mutex::default(), waker, is_asleep: AtomicBool::new(false) }
    }

    pub(crate) fn post(&self, message: Message) {
        self.lock().push(message);
        self.wake();
    }

    /// Wakes the shard if it sleeps.
    pub(crate) fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "failed to wake a shard");
        }
    }

    /// To be called before the shard looks for work a last time and then waits: from here on it
    /// is woken.
    pub(crate) fn fall_asleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
    }

    pub(crate) fn wake_up(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
