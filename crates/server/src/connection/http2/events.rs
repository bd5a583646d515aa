use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use tidewire_engine::{PipeReader, Piped};

use super::room::{NoRoom, Room, has_left};

/// What there is to do on a stream.
enum Next {
    /// Send so many bytes, for which there is room.
    Send(usize),
    /// End it.
    End,
    /// Break it off: a client must not take this for an end.
    Break,
    /// Break it off, since its client takes nothing.
    Stalled,
    /// The client has left.
    Left,
}

/// Carries an event stream to its client, as that makes room for it, until it ends. It takes little memory, since most
/// of the time it waits.
pub(super) async fn carry(
    mut to: SendStream<Bytes>,
    reader: PipeReader,
    stall_timeout: Duration,
) -> Result<(), h2::Error> {
    let mut room = Room::new(stall_timeout);
    loop {
        match poll_fn(|context| next(&mut to, &reader, &mut room, context)).await {
            Next::Send(length) => to.send_data(reader.take(length).into(), false)?,
            Next::End => return to.send_data(Bytes::new(), true),
            Next::Break => break to.send_reset(Reason::CANCEL),
            Next::Stalled => {
                reader.stalled();
                break to.send_reset(Reason::CANCEL);
            }
            Next::Left => break,
        }
    }
    Ok(())
}

fn next(to: &mut SendStream<Bytes>, reader: &PipeReader, room: &mut Room, context: &mut Context<'_>) -> Poll<Next> {
    if has_left(to, context) {
        return Poll::Ready(Next::Left);
    }
    Poll::Ready(match ready!(reader.poll(context)) {
        Piped::Bytes(length) => match ready!(room.poll(to, length, context)) {
            Ok(room) => Next::Send(room),
            Err(NoRoom::Gone) => Next::Left,
            Err(NoRoom::Stalled) => Next::Stalled,
        },
        Piped::Ended => Next::End,
        Piped::Torn | Piped::Refused(_) => Next::Break,
    })
}
