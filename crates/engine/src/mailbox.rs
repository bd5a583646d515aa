use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use tidewire_core::{CatchUpRead, SlotKey};
use tidewire_log::ReadError;

use crate::Admission;
use crate::heads::HeadKey;

/// What others tell a shard.
pub(crate) enum Message {
    /// A connection comes back.
    Adopt(TcpStream, Vec<u8>, SocketAddr),
    /// An admission that had to wait is decided, or could not be.
    Decided(HeadKey, Option<Admission>),
    /// A read from the log is done.
    CaughtUp(SlotKey, Result<CatchUpRead, ReadError>),
    /// Deliver what is owed, then end.
    Stop,
}

/// A shard's letters. They are bounded without a limit of their own: each carries a socket or
/// answers one of the shard's bounded jobs.
pub(crate) struct Mailbox {
    /// None once the shard has ended: nobody reads what comes then.
    messages: Mutex<Option<Vec<Message>>>,
    waker: mio::Waker,
    is_asleep: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox { messages: Mutex::new(Some(Vec::new())), waker, is_asleep: AtomicBool::new(false) }
    }

    /// Leaves a message. One to a shard that has ended is dropped, and its socket closed.
    pub(crate) fn post(&self, message: Message) {
        if let Some(messages) = &mut *self.lock() {
            messages.push(message);
        }
        self.wake();
    }

    /// Takes no more messages, and drops those that are there.
    pub(crate) fn close(&self) {
        let unread = self.lock().take();
        drop(unread);
    }

    /// Wakes the shard if it sleeps.
    pub(crate) fn wake(&self) {
        // Pairs with the fence in `fall_asleep`: whoever has moved the watermark sees that the shard
        // sleeps, or the shard sees the watermark.
        fence(Ordering::SeqCst);
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
        fence(Ordering::SeqCst);
    }

    pub(crate) fn wake_up(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().as_ref().is_none_or(Vec::is_empty)
    }

    pub(crate) fn take(&self) -> Vec<Message> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Vec<Message>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
