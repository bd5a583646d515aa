use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::carrier::Carrier;
use super::pace::Pace;
use super::way_back::WayBack;

/// hyper's answer to what is no request is shorter, in bytes.
const REFUSAL_BYTES_MAX: usize = 256;

/// A socket of which something has been read already, and which tells when everything written to
/// it is with the system. hyper's own answer to what is no request is not written: the driver has one.
pub(super) struct Wire {
    socket: Carrier,
    /// Read before this was made, and given out first.
    first: Bytes,
    way_back: Arc<WayBack>,
    pace: Arc<Pace>,
}

impl Wire {
    pub(super) fn new(socket: Carrier, first: Vec<u8>, way_back: Arc<WayBack>, pace: Arc<Pace>) -> Wire {
        Wire { socket, first: first.into(), way_back, pace }
    }

    pub(super) fn into_carrier(self) -> Carrier {
        self.socket
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            let read = Pin::new(&mut self.socket).poll_read(cx, buf);
            if read.is_ready() {
                self.pace.note_read();
            }
            return read;
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..length]);
        self.first.advance(length);
        self.pace.note_read();
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pace.note_write();
        let rest = bytes.len() - refusal_length(bytes);
        if rest == 0 {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.socket).poll_write(cx, &bytes[..rest])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.way_back.flushed();
            self.pace.note_flush();
        }
        flushed
    }

    /// The driver closes the connection, perhaps with an answer of its own.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How long hyper's answer to what is no request is at the end of what it writes, if it is there: all that it has yet
/// to write. No answer of the hub's own is like it, since each with such a status has a body.
fn refusal_length(bytes: &[u8]) -> usize {
    if !bytes.ends_with(b"\r\n\r\n") {
        return 0;
    }
    let tail = &bytes[bytes.len().saturating_sub(REFUSAL_BYTES_MAX)..];
    let Some(start) = tail.windows(7).rposition(|part| part == b"HTTP/1.") else { return 0 };
    let answer = &tail[start..];
    let has = |part: &[u8]| answer.windows(part.len()).any(|window| window == part);
    let is_refusal = [" 400 ", " 414 ", " 431 "].iter().any(|status| answer[8..].starts_with(status.as_bytes()));
    if is_refusal && has(b"\r\ncontent-length: 0\r\n") { answer.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_says_itself_is_its_refusal() {
        let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let ours = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(refusal_length(refusal), refusal.len());
        assert_eq!(refusal_length(&[&ours[..], refusal].concat()), refusal.len());
        for other in [&b""[..], b"\r\n\r\n", ours, &ours[..ours.len() - 2], &refusal[30..]] {
            assert_eq!(refusal_length(other), 0, "{:?}", String::from_utf8_lossy(other));
        }
        assert_eq!(refusal_length(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), 0);
    }
}
