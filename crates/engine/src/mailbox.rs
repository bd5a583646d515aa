use std::net::TcpStream;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use tidewire_core::{CatchUpRead, ClientAddress, Lag, SlotKey};
use tidewire_log::ReadError;

use crate::accepting::OnItsWay;
use crate::drain::Turns;
use crate::heads::HeadKey;
use crate::inspect::Question;
use crate::pipe::{Leave, PipeWriter};
use crate::{Admission, Decide, Socket, Work};

/// What others tell a shard.
pub(crate) enum Message {
    /// A connection comes back, with what admits it, or comes without a head.
    Adopt(Socket, Option<Decide>, ClientAddress),
    /// A connection was accepted for this shard by another.
    Dealt(TcpStream, ClientAddress, OnItsWay),
    /// An admission that had to wait is decided, or could not be.
    Decided(HeadKey, Work, Option<Admission>),
    /// A read from the log is done.
    CaughtUp(SlotKey, Result<CatchUpRead, ReadError>),
    /// A stream without a socket is asked for, with what admits it.
    Open(PipeWriter, Decide),
    /// A stream without a socket has room again.
    Writable(SlotKey),
    /// The reader of a stream without a socket has left.
    Left(SlotKey, Leave),
    /// Somebody wants to know or change something, and waits.
    Asked(Question),
    /// The hub stops: end streams as their turns come, and begin none.
    Drain(Arc<Turns>),
    /// End now.
    Stop,
}

/// The shard will look for messages and news before it waits.
const AWAKE: u8 = 0;
/// The shard waits, and has nobody to tell news: only a message wakes it.
const ASLEEP_TO_NEWS: u8 = 1;
/// The shard waits.
const ASLEEP: u8 = 2;

/// A shard's letters. They are bounded without a limit of their own: each carries a socket, answers
/// one of the shard's bounded jobs, or is one of the few that a stream without a socket has under way.
pub(crate) struct Mailbox {
    /// None once the shard has ended: nobody reads what comes then.
    messages: Mutex<Option<Vec<Message>>>,
    waker: mio::Waker,
    sleep: AtomicU8,
    /// How often the shard has turned.
    turns: AtomicU64,
    /// How far its streams were behind when each was last looked at.
    lag: Mutex<Lag>,
}

impl Mailbox {
    pub(crate) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox {
            messages: Mutex::new(Some(Vec::new())),
            waker,
            sleep: AtomicU8::new(AWAKE),
            turns: AtomicU64::new(0),
            lag: Mutex::default(),
        }
    }

    /// Leaves a message. One to a shard that has ended is dropped, and its socket closed.
    pub(crate) fn post(&self, message: Message) {
        if let Some(messages) = &mut *self.lock() {
            messages.push(message);
        }
        fence(Ordering::SeqCst);
        if self.sleep.swap(AWAKE, Ordering::SeqCst) != AWAKE {
            self.wake();
        }
    }

    /// Takes no more messages, and drops those that are there.
    pub(crate) fn close(&self) {
        let unread = self.lock().take();
        drop(unread);
    }

    /// Wakes the shard if it sleeps and has streams: the watermark has moved.
    pub(crate) fn tell_news(&self) {
        // Pairs with the fence in `fall_asleep`: whoever has moved the watermark sees that the shard
        // sleeps, or the shard sees the watermark.
        fence(Ordering::SeqCst);
        if self.sleep.compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.wake();
        }
    }

    /// To be called before the shard looks for work a last time and then waits: from here on it
    /// is woken, by news only if it has streams.
    pub(crate) fn fall_asleep(&self, has_streams: bool) {
        self.sleep.store(if has_streams { ASLEEP } else { ASLEEP_TO_NEWS }, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// To be called by the shard, and nobody else, when it has waited: another turn begins.
    pub(crate) fn wake_up(&self) {
        self.sleep.store(AWAKE, Ordering::SeqCst);
        self.turns.store(self.turns() + 1, Ordering::Relaxed);
    }

    /// How often the shard has turned.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Notes how far the shard's streams are behind.
    pub(crate) fn set_lag(&self, lag: Lag) {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    /// How far the shard's streams were behind when each was last looked at.
    pub(crate) fn lag(&self) -> Lag {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "failed to wake a shard");
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    /// Whether the shard behind `poll` has been woken.
    fn is_woken(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO)).expect("polled");
        !events.is_empty()
    }

    #[test]
    fn news_wake_a_shard_that_sleeps_and_has_streams_and_messages_any_that_sleeps() {
        let mut poll = Poll::new().expect("a poll");
        let mailbox = Mailbox::new(mio::Waker::new(poll.registry(), Token(0)).expect("a waker"));
        mailbox.tell_news();
        mailbox.post(Message::Stop);
        assert!(!is_woken(&mut poll), "awake");
        mailbox.fall_asleep(false);
        mailbox.tell_news();
        assert!(!is_woken(&mut poll), "there is nobody to tell");
        mailbox.post(Message::Stop);
        assert!(is_woken(&mut poll));
        mailbox.fall_asleep(true);
        mailbox.tell_news();
        assert!(is_woken(&mut poll));
        mailbox.tell_news();
        assert!(!is_woken(&mut poll), "once is enough");
        mailbox.fall_asleep(true);
        mailbox.post(Message::Stop);
        assert!(is_woken(&mut poll));
    }
}
