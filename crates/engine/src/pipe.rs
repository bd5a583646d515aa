//! Streams that have no socket: their bytes go to a task, which carries them by a protocol of its own.

mod unchunk;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tidewire_core::{ClientAddress, SlotKey};

use crate::Refusal;
use crate::mailbox::{Mailbox, Message};
use unchunk::Unchunk;

/// What a pipe holds until its reader takes it, in bytes. The rest of a slow reader's backlog stays in the log.
pub const PIPE_BYTES_MAX: usize = 16 * 1024;

/// A blocked pipe is written to again once it holds no more than this, in bytes: else a reader that takes little at a
/// time would have all that it is owed looked for again for each bit of room.
const ROOM_AGAIN_BYTES: usize = PIPE_BYTES_MAX / 2;

/// The shard's end of a pipe: dropped, it is the end of the stream, a clean one if the last chunk was written.
pub(crate) struct PipeWriter(Arc<Pipe>);

/// An event stream without a socket, as bytes of `text/event-stream` without any framing. Dropped, the subscriber has
/// left.
pub struct PipeReader(Arc<Pipe>);

/// How a stream without a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piped {
    /// So many bytes are there to be taken, and more than none.
    Bytes(usize),
    /// Everything was taken, and there is nothing more.
    Ended,
    /// It ends here, perhaps in the middle of an event, and what was not taken is gone.
    Torn,
    /// It has not begun, and will not.
    Refused(Refusal),
}

/// Why a reader leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It is gone.
    Gone,
    /// It took nothing for `stall_timeout`.
    Stalled,
}

struct Pipe {
    state: Mutex<State>,
    peer: ClientAddress,
}

#[derive(Default)]
struct State {
    /// What was written and not taken; no memory while that is nothing.
    bytes: Vec<u8>,
    unchunk: Unchunk,
    refusal: Option<Refusal>,
    is_writer_gone: bool,
    is_reader_gone: bool,
    /// The shard waits to be told that there is room.
    is_blocked: bool,
    waker: Option<Waker>,
    /// Of a reader that has bytes to take and waits for room for them: only the end is news to it.
    end_waker: Option<Waker>,
    /// Whom to tell, once the stream has a slot.
    shard: Option<(Arc<Mailbox>, SlotKey)>,
}

/// A pipe to whoever is at this address.
pub(crate) fn pipe(peer: ClientAddress) -> (PipeWriter, PipeReader) {
    let pipe = Arc::new(Pipe { state: Mutex::default(), peer });
    (PipeWriter(Arc::clone(&pipe)), PipeReader(pipe))
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the reader.
    fn tell_reader<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.inspect(Waker::wake_by_ref);
        changed
    }

    fn leave(&self, why: Leave) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.is_reader_gone, true) {
            return;
        }
        state.bytes = Vec::new();
        (state.waker, state.end_waker) = (None, None);
        let shard = state.shard.take();
        drop(state);
        if let Some((mailbox, key)) = shard {
            mailbox.post(Message::Left(key, why));
        }
    }
}

impl PipeWriter {
    /// From now on the shard is told when there is room again and when the reader leaves. Says whether it has not left
    /// already.
    pub(crate) fn attach(&self, mailbox: &Arc<Mailbox>, key: SlotKey) -> bool {
        let mut state = self.0.lock();
        if !state.is_reader_gone {
            state.shard = Some((Arc::clone(mailbox), key));
        }
        !state.is_reader_gone
    }

    /// Takes the bytes of a chunked body as far as there is room for what they hold.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.tell_reader(|state| {
            if state.is_reader_gone {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let taken = state.unchunk.take(bytes, &mut state.bytes, PIPE_BYTES_MAX)?;
            state.is_blocked = taken < bytes.len();
            if taken == 0 && state.is_blocked { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        })
    }

    /// Ends a stream before it begins.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.0.tell_reader(|state| state.refusal = Some(refusal));
    }

    pub(crate) fn has_left(&self) -> bool {
        self.0.lock().is_reader_gone
    }

    /// Who reads.
    pub(crate) fn peer(&self) -> ClientAddress {
        self.0.peer
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let waker = self.0.tell_reader(|state| {
            state.is_writer_gone = true;
            state.end_waker.take()
        });
        waker.inspect(Waker::wake_by_ref);
    }
}

impl PipeReader {
    /// How the stream stands, once there is something to do about it.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Piped> {
        let mut state = self.0.lock();
        if let Some(refusal) = state.refusal {
            return Poll::Ready(Piped::Refused(refusal));
        }
        let is_over = state.unchunk.is_over();
        if state.is_writer_gone && !is_over {
            return Poll::Ready(Piped::Torn);
        }
        if !state.bytes.is_empty() {
            state.end_waker = Some(context.waker().clone());
            return Poll::Ready(Piped::Bytes(state.bytes.len()));
        }
        if is_over {
            return Poll::Ready(Piped::Ended);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Takes at most so many of the bytes that are there.
    #[must_use]
    pub fn take(&self, max: usize) -> Vec<u8> {
        let mut state = self.0.lock();
        let taken =
            if max < state.bytes.len() { state.bytes.drain(..max).collect() } else { std::mem::take(&mut state.bytes) };
        let has_room = state.is_blocked && state.bytes.len() <= ROOM_AGAIN_BYTES;
        if has_room {
            state.is_blocked = false;
        }
        let shard = state.shard.clone().filter(|_| has_room);
        drop(state);
        if let Some((mailbox, key)) = shard {
            mailbox.post(Message::Writable(key));
        }
        taken
    }

    /// Ends the stream since its client took nothing for `stall_timeout`.
    pub fn stalled(&self) {
        self.0.leave(Leave::Stalled);
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.leave(Leave::Gone);
    }
}

#[cfg(test)]
mod tests;
