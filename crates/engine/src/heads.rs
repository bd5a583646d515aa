mod parsing;

use std::collections::VecDeque;
use std::net::SocketAddr;

use mio::net::TcpStream;
use slab::Slab;

use crate::Admission;
pub(crate) use parsing::{Parsed, parse};

/// A head that is longer, in bytes, holds a buffer as an unfinished one does while its admission is decided.
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// How many keys of heads that have gone may stand in a queue beside as many as there are.
const GONE_KEYS_MAX: usize = 64;

/// What decides on an admission that had to be put off.
pub(crate) type Decide = Box<dyn FnOnce() -> Admission + Send>;

/// How many connections there must have been for their memory to be given back once all have gone.
const KEPT_MAX: usize = 1024;

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
    /// How many of them are known to hold no end of a head.
    pub(crate) seen: usize,
    pub(crate) stage: Stage,
    /// What decides on its admission, until a thread has time for it. It may hold a copy of the head, and so it
    /// goes when the connection does.
    decide: Option<Decide>,
    serial: u64,
    /// Stands in the queue of those that have something to read.
    is_readable: bool,
    /// Holds one of the buffers for unfinished heads.
    is_unfinished: bool,
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
    /// Those that have something to read, each once however much comes.
    readable: VecDeque<HeadKey>,
    /// Those that hold a buffer, oldest first, and some that no longer do.
    unfinished: VecDeque<HeadKey>,
    buffers: usize,
    /// Those whose admission waits for a thread, oldest first, and some that have gone.
    undecided: VecDeque<HeadKey>,
    /// How many have not gone.
    waiting: usize,
    next_serial: u64,
}

impl Heads {
    /// The key that the next [`Heads::insert`] gives.
    pub(crate) fn next_key(&self) -> HeadKey {
        HeadKey { index: self.connections.vacant_key(), serial: self.next_serial }
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Takes in a connection, which may have something to read.
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
        let serial = key.serial;
        self.connections.insert(Connection {
            socket,
            peer,
            bytes,
            seen: 0,
            stage,
            decide: None,
            serial,
            is_readable: false,
            is_unfinished: false,
        });
        self.arrivals.push_back((now_ms, key));
        self.note_readable(key);
        key
    }

    pub(crate) fn get_mut(&mut self, key: HeadKey) -> Option<&mut Connection> {
        self.connections.get_mut(key.index).filter(|connection| connection.serial == key.serial)
    }

    pub(crate) fn remove(&mut self, key: HeadKey) -> Option<Connection> {
        self.give_back_buffer(key);
        drop(self.take_decide(key));
        self.get_mut(key)?;
        let connection = self.connections.try_remove(key.index);
        if self.connections.is_empty() && self.connections.capacity() > KEPT_MAX {
            // After a storm: these are streams now, and the next one may be long in coming.
            *self = Heads { next_serial: self.next_serial, ..Heads::default() };
        }
        connection
    }

    pub(crate) fn key_at(&self, index: usize) -> Option<HeadKey> {
        self.connections.get(index).map(|connection| HeadKey { index, serial: connection.serial })
    }

    /// A connection has something to read.
    pub(crate) fn note_readable(&mut self, key: HeadKey) {
        if let Some(connection) = self.get_mut(key).filter(|connection| !connection.is_readable) {
            connection.is_readable = true;
            self.readable.push_back(key);
        }
    }

    /// How many connections have something to read, counting those that have gone since.
    pub(crate) fn readable(&self) -> usize {
        self.readable.len()
    }

    /// The next connection that has something to read; what comes from here on queues it again.
    pub(crate) fn take_readable(&mut self) -> Option<HeadKey> {
        let key = self.readable.pop_front()?;
        self.get_mut(key)?.is_readable = false;
        Some(key)
    }

    /// A connection's head is whole, and its admission waits for a thread. A long head holds a buffer meanwhile:
    /// if more than `buffers_max` do, the one that has held one for longest is taken, but not this one.
    pub(crate) fn note_deciding(&mut self, key: HeadKey, decide: Decide, buffers_max: usize) -> Option<Connection> {
        let connection = self.get_mut(key)?;
        connection.stage = Stage::Deciding;
        connection.decide = Some(decide);
        self.waiting += 1;
        self.undecided.push_back(key);
        let Heads { connections, undecided, waiting, .. } = self;
        forget_gone(undecided, *waiting, connections, |connection| connection.decide.is_some());
        let connection = self.get_mut(key)?;
        if connection.bytes.len() > SMALL_BYTES_MAX {
            return self.note_unfinished(key, buffers_max);
        }
        connection.bytes.shrink_to_fit();
        self.give_back_buffer(key);
        None
    }

    /// How many admissions wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The admission that has waited for longest.
    pub(crate) fn next_undecided(&mut self) -> Option<(HeadKey, Decide)> {
        while let Some(key) = self.undecided.pop_front() {
            if let Some(decide) = self.take_decide(key) {
                return Some((key, decide));
            }
        }
        None
    }

    fn take_decide(&mut self, key: HeadKey) -> Option<Decide> {
        let decide = self.get_mut(key)?.decide.take()?;
        self.waiting -= 1;
        Some(decide)
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

    /// Notes that a connection holds a buffer with an unfinished head. If more than `buffers_max` do, the
    /// one that has held one for longest is taken, but not this one.
    pub(crate) fn note_unfinished(&mut self, key: HeadKey, buffers_max: usize) -> Option<Connection> {
        let connection = self.get_mut(key).filter(|connection| !connection.bytes.is_empty())?;
        if connection.is_unfinished {
            return None;
        }
        connection.is_unfinished = true;
        self.buffers += 1;
        let Heads { connections, unfinished, buffers, .. } = self;
        forget_gone(unfinished, *buffers, connections, |connection| connection.is_unfinished);
        while let Some(&oldest) = self.unfinished.front() {
            let is_holding = self.get_mut(oldest).is_some_and(|connection| connection.is_unfinished);
            if is_holding && self.buffers <= buffers_max {
                break;
            }
            self.unfinished.pop_front();
            if is_holding {
                self.unfinished.push_back(key);
                return self.remove(oldest);
            }
        }
        self.unfinished.push_back(key);
        None
    }

    fn give_back_buffer(&mut self, key: HeadKey) {
        if let Some(connection) = self.get_mut(key).filter(|connection| connection.is_unfinished) {
            connection.is_unfinished = false;
            self.buffers -= 1;
        }
    }
}

/// Takes the keys of those that have gone from a queue, once they are more than the `here` that have not.
fn forget_gone(
    queue: &mut VecDeque<HeadKey>,
    here: usize,
    connections: &Slab<Connection>,
    is_here: impl Fn(&Connection) -> bool,
) {
    if queue.len() > 2 * here + GONE_KEYS_MAX {
        queue.retain(|key| {
            let connection = connections.get(key.index).filter(|connection| connection.serial == key.serial);
            connection.is_some_and(&is_here)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// A connection as the shard has it, and the client's end.
    fn connect() -> (TcpStream, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind((PEER.ip(), 0)).expect("a free port");
        let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
        let (socket, _) = listener.accept().expect("somebody connects");
        socket.set_nonblocking(true).expect("it may be set");
        (TcpStream::from_std(socket), client)
    }

    fn undecided() -> Decide {
        Box::new(|| Admission::HandOver)
    }

    #[test]
    fn what_waits_to_be_decided_goes_with_its_connection_and_its_key_soon_after() {
        let mut heads = Heads::default();
        let mut clients = Vec::new();
        let mut insert = |heads: &mut Heads| {
            let (socket, client) = connect();
            clients.push(client);
            let key = heads.insert(socket, PEER, b"GET".to_vec(), Stage::Reading, 0);
            assert!(heads.note_deciding(key, undecided(), 2).is_none());
            key
        };
        let first = insert(&mut heads);
        for _ in 0..2 * GONE_KEYS_MAX {
            let key = insert(&mut heads);
            drop(heads.remove(key));
            assert_eq!(heads.waiting(), 1);
            assert!(heads.undecided.len() <= GONE_KEYS_MAX + 4);
        }
        let last = insert(&mut heads);
        assert_eq!(heads.next_undecided().map(|(key, _)| key), Some(first));
        assert_eq!(heads.next_undecided().map(|(key, _)| key), Some(last));
        assert!(heads.next_undecided().is_none() && heads.waiting() == 0);
    }

    /// The story: each event of a socket queued its connection, and a turn served 64 entries. Clients who
    /// sent byte by byte made the queue longer than it was served, without limit.
    #[test]
    fn a_connection_is_queued_once_however_often_it_becomes_readable() {
        let mut heads = Heads::default();
        let (socket, _client) = connect();
        let key = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0);
        for _ in 0..10 {
            heads.note_readable(key);
        }
        assert_eq!(heads.readable(), 1);
        assert_eq!(heads.take_readable(), Some(key));
        assert_eq!(heads.take_readable(), None);
        heads.note_readable(key);
        assert_eq!(heads.take_readable(), Some(key), "it may be queued again");
    }

    #[test]
    fn of_one_unfinished_head_too_many_the_oldest_goes_and_finished_ones_do_not_count() {
        let mut heads = Heads::default();
        let mut clients = Vec::new();
        let mut insert = |heads: &mut Heads, stage| {
            let (socket, client) = connect();
            clients.push(client);
            heads.insert(socket, PEER, b"GET".to_vec(), stage, 0)
        };
        let keys: Vec<HeadKey> = (0..4).map(|_| insert(&mut heads, Stage::Reading)).collect();
        assert!(heads.note_unfinished(keys[0], 2).is_none());
        assert!(heads.note_unfinished(keys[1], 2).is_none());
        assert!(heads.note_unfinished(keys[1], 2).is_none(), "it is counted once");
        assert!(heads.note_deciding(keys[0], undecided(), 2).is_none(), "a small head gives its buffer back");
        assert!(heads.note_unfinished(keys[2], 2).is_none());
        let taken = heads.note_unfinished(keys[3], 2).expect("one more than the limit");
        assert_eq!(taken.serial, keys[1].serial);
        assert_eq!((heads.buffers, heads.connections.len()), (2, 3));
        for key in keys {
            heads.remove(key);
        }
        assert_eq!(heads.buffers, 0);
        // One that stays holds up no others' keys.
        let stays = insert(&mut heads, Stage::Reading);
        assert!(heads.note_unfinished(stays, 2).is_none());
        for _ in 0..2 * GONE_KEYS_MAX {
            let goes = insert(&mut heads, Stage::Reading);
            assert!(heads.note_unfinished(goes, 2).is_none());
            drop(heads.remove(goes));
            assert!(heads.unfinished.len() <= GONE_KEYS_MAX + 5);
        }
        assert_eq!(heads.buffers, 1);
    }

    /// The story: an unfinished head held one of so many buffers, and a whole one that waited for the disk none. As
    /// many as there may be connections, each with a head of 64 KiB and a publisher's id to be sought, took a gigabyte.
    #[test]
    fn long_heads_hold_buffers_while_they_are_decided() {
        let mut heads = Heads::default();
        let mut clients = Vec::new();
        let mut insert = |heads: &mut Heads, length: usize| {
            let (socket, client) = connect();
            clients.push(client);
            heads.insert(socket, PEER, vec![b'x'; length], Stage::Reading, 0)
        };
        let small: Vec<HeadKey> = (0..5).map(|_| insert(&mut heads, SMALL_BYTES_MAX)).collect();
        for key in small {
            assert!(heads.note_deciding(key, undecided(), 2).is_none());
        }
        let long: Vec<HeadKey> = (0..3).map(|_| insert(&mut heads, SMALL_BYTES_MAX + 1)).collect();
        assert!(heads.note_deciding(long[0], undecided(), 2).is_none());
        assert!(heads.note_deciding(long[1], undecided(), 2).is_none());
        let taken = heads.note_deciding(long[2], undecided(), 2).expect("one more than the limit");
        assert_eq!((taken.serial, heads.buffers), (long[0].serial, 2));
        drop(heads.remove(long[1]));
        assert_eq!(heads.buffers, 1);
    }

    #[test]
    fn the_memory_of_a_storm_is_given_back_and_no_key_names_another() {
        let mut heads = Heads::default();
        let (socket, _client) = connect();
        let first = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0);
        heads.connections.reserve(2 * KEPT_MAX);
        drop(heads.remove(first));
        assert_eq!((heads.connections.capacity(), heads.arrivals.capacity(), heads.readable.capacity()), (0, 0, 0));
        let (socket, _client) = connect();
        let second = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 1);
        assert_eq!((first.index, second.index), (0, 0));
        assert!(heads.get_mut(first).is_none() && heads.get_mut(second).is_some());
        assert_eq!(heads.take_readable(), Some(second));
    }
}
