use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::Sleep;

/// Room for what is sent on a stream, as its client gives it.
pub(super) struct Room {
    stall_timeout: Duration,
    /// While it is waited for.
    waits: Option<Pin<Box<Sleep>>>,
}

/// Why there will be no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// The client has left.
    Gone,
    /// The client made none for `stall_timeout`.
    Stalled,
}

impl Room {
    pub(super) fn new(stall_timeout: Duration) -> Room {
        Room { stall_timeout, waits: None }
    }

    /// For how much of `wanted` bytes, which are more than none, there is room.
    pub(super) fn poll(
        &mut self,
        to: &mut SendStream<Bytes>,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, NoRoom>> {
        if has_left(to, context) {
            return Poll::Ready(Err(NoRoom::Gone));
        }
        to.reserve_capacity(wanted);
        let mut room = to.capacity();
        if room == 0 {
            room = match to.poll_capacity(context) {
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(NoRoom::Gone)),
                Poll::Pending => {
                    let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.stall_timeout)));
                    ready!(waits.as_mut().poll(context));
                    return Poll::Ready(Err(NoRoom::Stalled));
                }
            };
        }
        self.waits = None;
        Poll::Ready(Ok(room.min(wanted)))
    }
}

/// Whether the client has no interest any more; else the task is woken when that is so.
pub(super) fn has_left(to: &mut SendStream<Bytes>, context: &mut Context<'_>) -> bool {
    to.poll_reset(context).is_ready()
}
