//! As much of HTTP/1.1 as measuring takes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::BenchError;

/// Headers of an answer.
const HEADERS_MAX: usize = 32;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1_024;

/// The longest body that is taken as a whole.
const BODY_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// How long an answer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Its own length.
    pub(crate) bytes: usize,
    pub(crate) body: BodyLength,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    Bytes(usize),
    Chunked,
    /// No header says: none, or up to the end of the connection.
    Unsaid,
}

impl BodyLength {
    /// None where it is not known beforehand.
    pub(crate) fn bytes(self) -> Option<usize> {
        match self {
            BodyLength::Bytes(bytes) => Some(bytes),
            BodyLength::Unsaid => Some(0),
            BodyLength::Chunked => None,
        }
    }
}

impl Head {
    /// The head at the beginning of these bytes; none if it is not whole yet. The error is a fragment that fits "answered
    /// with …".
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes")),
            Err(error) => return Err(format!("what is not HTTP: {error}")),
        };
        let mut body = BodyLength::Unsaid;
        for header in &*response.headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                let length = std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
                let length = length.filter(|&length: &usize| length <= BODY_BYTES_MAX);
                body = BodyLength::Bytes(length.ok_or("a length that is none, or too large")?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                body = BodyLength::Chunked;
            }
        }
        Ok(Some(Head { status: response.code.unwrap_or_default(), bytes: length, body }))
    }
}

/// A request that publishes `body`.
pub(crate) fn post_events(address: SocketAddr, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /api/v1/events HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A keep-alive connection on which one waits for each answer.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// What was received and belongs to nobody yet.
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Connection, BenchError> {
        let connect = || {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(SILENCE_MAX))?;
            Ok(Connection { socket, received: Vec::new() })
        };
        connect().map_err(BenchError::io(format!("connect to {address}")))
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Result<(), BenchError> {
        self.socket.write_all(request).map_err(BenchError::io("send a request"))
    }

    /// Receives an answer with a length: its status and body.
    pub(crate) fn receive(&mut self) -> Result<(u16, Vec<u8>), BenchError> {
        let head = self.head()?;
        let Some(length) = head.body.bytes() else {
            return Err(BenchError::hub("answered with a body without a length"));
        };
        while self.received.len() < length {
            self.more()?;
        }
        let rest = self.received.split_off(length);
        Ok((head.status, std::mem::replace(&mut self.received, rest)))
    }

    /// Receives a head. What follows it is in [`Connection::take`] and [`Connection::more`].
    pub(crate) fn head(&mut self) -> Result<Head, BenchError> {
        loop {
            let head = Head::parse(&self.received);
            if let Some(head) = head.map_err(|what| BenchError::hub(format!("answered with {what}")))? {
                self.received.drain(..head.bytes);
                return Ok(head);
            }
            self.more()?;
        }
    }

    /// What was received and not taken.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// What was received beyond what was asked for.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Waits for more. It is an error if there is none.
    pub(crate) fn more(&mut self) -> Result<(), BenchError> {
        let mut buffer = [0; 64 * 1_024];
        let read = loop {
            match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read.map_err(BenchError::io("receive an answer"))? {
            0 => Err(BenchError::hub("closed a connection before the end of its answer")),
            length => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}

/// Asks for a resource: status and body.
pub(crate) fn get(address: SocketAddr, target: &str) -> Result<(u16, Vec<u8>), BenchError> {
    let mut connection = Connection::open(address)?;
    connection.send(format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())?;
    connection.receive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_or_not_yet_there() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 9\r\n\r\n{\"id\":1}\n";
        let end = answer.len() - 9;
        for length in 0..end {
            assert_eq!(Head::parse(&answer[..length]), Ok(None), "{length}");
        }
        assert_eq!(Head::parse(answer), Ok(Some(Head { status: 200, bytes: end, body: BodyLength::Bytes(9) })));
        let chunked = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n";
        let head = Head { status: 503, bytes: chunked.len(), body: BodyLength::Chunked };
        assert_eq!(Head::parse(chunked), Ok(Some(head)));
    }

    #[test]
    fn a_length_may_be_unsaid() {
        let head = Head::parse(b"HTTP/1.1 204 No Content\r\n\r\n").expect("it is a head").expect("it is whole");
        assert_eq!((head.status, head.body, head.body.bytes()), (204, BodyLength::Unsaid, Some(0)));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert!(Head::parse(b"+OK\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
        let mut endless = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        endless.resize(HEAD_BYTES_MAX, b'y');
        assert!(Head::parse(&endless).is_err());
    }
}
