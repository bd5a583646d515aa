use std::collections::VecDeque;
use std::net::SocketAddr;

use mio::net::TcpStream;
use slab::Slab;

/// Header fields of one head, at most.
const HEADERS_MAX: usize = 128;

/// Names a connection that has not become anything yet; it outlives the connection and then names
/// nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadKey {
    index: usize,
    serial: u64,
}

impl HeadKey {
    /// The connection's number, used again after it has gone.
    pub(crate) fn index(self) -> usize {
        self.index
    }
}

/// A connection of which no whole request head has been read yet, or whose admission is being
/// decided.
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// What of the head has been read, while it is unfinished.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stage: Stage,
    serial: u64,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The rest of its head.
    Reading,
    /// Its admission.
    Deciding,
    /// The client to take the answer that ends it: closing at once with bytes unread would reset the
    /// connection, and the answer with it.
    Closing,
}

/// The connections of a shard that are not streams yet.
#[derive(Default)]
pub(crate) struct Heads {
    connections: Slab<Connection>,
    /// Everyone who came, oldest first, with the time.
    arrivals: VecDeque<(u64, HeadKey)>,
    next_serial: u64,
}

impl Heads {
    /// The key that the next [`Heads::insert`] gives.
    pub(crate) fn next_key(&self) -> HeadKey {
        HeadKey { index: self.connections.vacant_key(), serial: self.next_serial }
    }

    pub(crate) fn insert(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        bytes: Vec<u8>,
        stage: Stage,
        now_ms: u64,
    ) -> HeadKey {
        let key = self.next_key();
        self.next_serial += 1;
        self.connections.insert(Connection { socket, peer, bytes, stage, serial: key.serial });
        self.arrivals.push_back((now_ms, key));
        key
    }

    pub(crate) fn get_mut(&mut self, key: HeadKey) -> Option<&mut Connection> {
        self.connections.get_mut(key.index).filter(|connection| connection.serial == key.serial)
    }

    pub(crate) fn remove(&mut self, key: HeadKey) -> Option<Connection> {
        self.get_mut(key)?;
        self.connections.try_remove(key.index)
    }

    pub(crate) fn key_at(&self, index: usize) -> Option<HeadKey> {
        self.connections.get(index).map(|connection| HeadKey { index, serial: connection.serial })
    }

    /// Whoever came at or before `then_ms` and has not become anything.
    pub(crate) fn take_late(&mut self, then_ms: u64) -> Option<Connection> {
        while let Some(&(_, key)) = self.arrivals.front().filter(|(came_ms, _)| *came_ms <= then_ms) {
            self.arrivals.pop_front();
            if self.get_mut(key).is_some_and(|connection| connection.stage != Stage::Deciding) {
                return self.remove(key);
            }
        }
        None
    }

    /// The oldest unfinished head but `except`, if there are more than `buffers_max`.
    pub(crate) fn take_over(&mut self, buffers_max: usize, except: HeadKey) -> Option<Connection> {
        let is_buffered = |connection: &Connection| !connection.bytes.is_empty() && connection.stage == Stage::Reading;
        if self.connections.len() <= buffers_max
            || self.connections.iter().filter(|(_, connection)| is_buffered(connection)).count() <= buffers_max
        {
            return None;
        }
        let oldest = self.arrivals.iter().map(|&(_, key)| key).find(|key| {
            *key != except && self.connections.get(key.index).is_some_and(|c| c.serial == key.serial && is_buffered(c))
        })?;
        self.remove(oldest)
    }
}

/// What the bytes of a head come to.
pub(crate) enum Parsed<R> {
    /// The head is whole; what the reader of it made of it.
    Whole(R),
    /// More bytes must come.
    Partial,
    /// There are too many header fields.
    TooLarge,
    /// It is no HTTP/1 request.
    Malformed,
}

/// Parses a request head and shows it to `read`. `seen` bytes at the front are known to hold no end
/// of a head, so that a head which comes byte by byte is not parsed anew for each.
pub(crate) fn parse<R>(
    bytes: &[u8],
    seen: usize,
    peer: SocketAddr,
    read: impl FnOnce(&crate::Head<'_>) -> R,
) -> Parsed<R> {
    if !has_blank_line(&bytes[seen.saturating_sub(3)..]) {
        return Parsed::Partial;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::TooLarge,
        Err(_) => return Parsed::Malformed,
    }
    match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(version_minor)) => {
            Parsed::Whole(read(&crate::Head { method, target, version_minor, headers: request.headers, peer }))
        }
        _ => Parsed::Malformed,
    }
}

fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn target(bytes: &[u8], seen: usize) -> Option<String> {
        match parse(bytes, seen, PEER, |head| head.target.to_owned()) {
            Parsed::Whole(target) => Some(target),
            _ => None,
        }
    }

    #[test]
    fn a_head_is_found_whole_wherever_it_was_cut() {
        let head = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(target(&head[..cut], 0), None);
            assert_eq!(target(head, cut).as_deref(), Some("/x"), "cut at {cut}");
        }
    }

    #[test]
    fn one_field_too_many_is_too_large_and_nonsense_is_malformed() {
        let head = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields));
        assert_eq!(target(head(HEADERS_MAX).as_bytes(), 0).as_deref(), Some("/"));
        assert!(matches!(parse(head(HEADERS_MAX + 1).as_bytes(), 0, PEER, |_| ()), Parsed::TooLarge));
        assert!(matches!(parse(b"\x16\x03\x01\n\n", 0, PEER, |_| ()), Parsed::Malformed));
        assert!(matches!(parse(b"PRI * HTTP/2.0\r\n\r\n", 0, PEER, |_| ()), Parsed::Malformed));
    }
}
