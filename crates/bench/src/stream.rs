use std::net::SocketAddr;

use tidewire_sse::{Decoder, Item, Limits, Message};

use crate::BenchError;
use crate::http::{BodyLength, Connection};

/// What the hub's own events begin with.
const OWN: &str = "tidewire.";

/// The longest line that says how long a chunk is.
const SIZE_LINE_BYTES_MAX: usize = 64;

/// A stream of events.
#[derive(Debug)]
pub(crate) struct EventStream {
    connection: Connection,
    chunks: Chunks,
    decoder: Decoder,
}

impl EventStream {
    /// Asks for a stream on a connection of its own: what `query` says, as in `topic=a&from=earliest`.
    pub(crate) fn open(address: SocketAddr, query: &str) -> Result<EventStream, BenchError> {
        let mut connection = Connection::open(address)?;
        connection.send(request(address, query).as_bytes())?;
        EventStream::answered(connection)
    }

    /// Goes on where a [`request`] was sent: waits for the head.
    pub(crate) fn answered(mut connection: Connection) -> Result<EventStream, BenchError> {
        let head = connection.head()?;
        if head.status != 200 || head.body != BodyLength::Chunked {
            return Err(BenchError::hub(format!("answered a stream with {}", head.status)));
        }
        Ok(EventStream { connection, chunks: Chunks::default(), decoder: Decoder::new(Limits::default()) })
    }

    /// Waits for the next event of a publisher. Every other event but a checkpoint is an error: it would say that
    /// something is missing.
    pub(crate) fn next(&mut self) -> Result<Message, BenchError> {
        loop {
            while let Some(item) = self.decoder.next() {
                let item = item.map_err(|error| BenchError::hub(format!("sent an event that is none: {error}")))?;
                let Item::Event(message) = item else { continue };
                match message.event_type.strip_prefix(OWN) {
                    None => return Ok(message),
                    Some("checkpoint") => {}
                    Some(_) => {
                        let told = format!("told {} in a stream: {}", message.event_type, message.data);
                        return Err(BenchError::hub(told));
                    }
                }
            }
            let mut received = self.connection.take();
            if received.is_empty() {
                self.connection.more()?;
                received = self.connection.take();
            }
            let fed = self.chunks.feed(&received, |content| self.decoder.feed(content));
            fed.map_err(|what| BenchError::hub(format!("sent {what}")))?;
        }
    }
}

/// The request for a stream.
pub(crate) fn request(address: SocketAddr, query: &str) -> String {
    format!("GET /api/v1/events?{query} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n")
}

/// Takes a chunked body apart, cut anywhere.
#[derive(Debug, Default)]
struct Chunks {
    /// What is left of the chunk's content.
    content_bytes: usize,
    /// What is there of the line before the next chunk's content; at first the line end that belongs to the chunk before.
    line: Vec<u8>,
    ended: bool,
}

impl Chunks {
    /// Passes on the content. The error is a fragment that fits "sent …".
    fn feed(&mut self, mut bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.ended {
                return Err("the end of a stream".to_owned());
            }
            if self.content_bytes > 0 {
                let (now, later) = bytes.split_at(bytes.len().min(self.content_bytes));
                content(now);
                self.content_bytes -= now.len();
                bytes = later;
                continue;
            }
            self.line.push(bytes[0]);
            bytes = &bytes[1..];
            if self.line.ends_with(b"\r\n") && self.line.len() > 2 {
                self.size()?;
            } else if self.line.len() > SIZE_LINE_BYTES_MAX {
                return Err("a chunk without a size".to_owned());
            }
        }
        Ok(())
    }

    /// The line is whole: how long the chunk's content is.
    fn size(&mut self) -> Result<(), String> {
        let text = std::str::from_utf8(&self.line).unwrap_or_default().trim();
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default(), 16);
        self.content_bytes = size.map_err(|_| format!("the chunk size {text:?}"))?;
        self.ended = self.content_bytes == 0;
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"5\r\nhello\r\nC;x=y\r\n, wide world\r\n";

    #[test]
    fn any_cutting_gives_the_same() {
        for cut in 0..BODY.len() {
            let (mut chunks, mut content) = (Chunks::default(), Vec::new());
            for part in [&BODY[..cut], &BODY[cut..]] {
                chunks.feed(part, |bytes| content.extend_from_slice(bytes)).expect("it is well formed");
            }
            assert_eq!(content, b"hello, wide world", "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let all: [&[u8]; 4] = [b"x\r\n", b"ffffffffffffffffffff\r\n", b"0\r\n\r\n", &[b'1'; 70]];
        for bytes in all {
            assert!(Chunks::default().feed(bytes, |_| {}).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_stream_over_a_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let own = "id: 1\nevent: tidewire.checkpoint\ndata: \n\n";
        let events = "id: 2\ndata: a\n\n: hm\n\nid: 3\nevent: tidewire.gap\ndata: {}\n\n";
        let peer = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut request = [0; 1_024];
            let length = socket.read(&mut request).expect("a request");
            let mut answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
            for event in [own, events] {
                answer.push_str(&format!("{:x}\r\n{event}\r\n", event.len()));
            }
            socket.write_all(answer.as_bytes()).expect("it is read");
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let mut stream = EventStream::open(address, "topic=a").expect("it is answered");
        let message = stream.next().expect("an event");
        assert_eq!((message.id.as_str(), message.data.as_str()), ("2", "a"));
        assert!(stream.next().is_err_and(|error| error.to_string().contains("tidewire.gap")));
        assert!(peer.join().expect("no panic").starts_with("GET /api/v1/events?topic=a HTTP/1.1\r\n"));
    }
}
