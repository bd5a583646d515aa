mod parsing;

use std::collections::VecDeque;

use slab::Slab;
use tidewire_core::ClientAddress;

use crate::accepting::Promise;
use crate::transport::Transport;
use crate::{Decide, Work};
pub use parsing::{HEADERS_MAX, HTTP2_PREFACE};
pub(crate) use parsing::{Parsed, parse};

/// A head that is longer, in bytes, holds a buffer as an unfinished one does while its admission is decided.
const SMALL_BYTES_MAX: usize = 4 * 1024;

/// How many keys of heads that have gone may stand in a queue beside as many as there are.
const GONE_KEYS_MAX: usize = 64;

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
    pub(crate) socket: Transport,
    pub(crate) peer: ClientAddress,
    /// Who asks, as far as is known: who a proxy says it is, once its head is read.
    pub(crate) client: ClientAddress,
    /// What of the head has been read, while it is unfinished.
    pub(crate) bytes: Vec<u8>,
    /// How many of them are known to hold no end of a head; while it is closed, how much has come that nobody wants.
    pub(crate) seen: usize,
    pub(crate) stage: Stage,
    /// What admits it, if its head was read elsewhere.
    pub(crate) admit: Option<Decide>,
    /// What decides on its admission, until a thread has time for it. It may hold a copy of the head, and so it
    /// goes when the connection does.
    decide: Option<Decide>,
    /// Held while its admission waits or is decided.
    pub(crate) promise: Option<Promise>,
    serial: u64,
    /// Stands in the queue of those that have something to read.
    is_readable: bool,
    /// Holds one of the buffers for unfinished heads.
    is_unfinished: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The rest of the header by which a proxy says whose connection this is. It is left with the system until it is whole.
    Introduced,
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
    /// Those whose admission waits for a thread, by its work, oldest first, and some that have gone.
    undecided: [VecDeque<HeadKey>; Work::KINDS],
    /// How many have not gone.
    waiting: usize,
    /// Those whose admission is being decided, oldest first, with the time since when, and some that have gone.
    deciding: VecDeque<(u64, HeadKey)>,
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
        socket: Transport,
        peer: ClientAddress,
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
            client: peer,
            bytes,
            seen: 0,
            stage,
            admit: None,
            decide: None,
            promise: None,
            serial,
            is_readable: false,
            is_unfinished: false,
        });
        self.arrivals.push_back((now_ms, key));
        let Heads { connections, arrivals, .. } = self;
        forget_gone(arrivals, connections.len(), |&(_, key)| find(connections, key).is_some());
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
    pub(crate) fn note_deciding(
        &mut self,
        key: HeadKey,
        work: Work,
        decide: Decide,
        buffers_max: usize,
        now_ms: u64,
    ) -> Option<Connection> {
        let connection = self.get_mut(key)?;
        // What is put off twice has been waiting since the first time.
        let is_first = std::mem::replace(&mut connection.stage, Stage::Deciding) != Stage::Deciding;
        connection.decide = Some(decide);
        self.waiting += 1;
        let Heads { connections, undecided, waiting, deciding, .. } = self;
        if is_first {
            deciding.push_back((now_ms, key));
            forget_gone(deciding, connections.len(), |&(_, key)| find(connections, key).is_some());
        }
        let undecided = &mut undecided[work as usize];
        undecided.push_back(key);
        forget_gone(undecided, *waiting, |&key| find(connections, key).is_some_and(|it| it.decide.is_some()));
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

    /// The admission that has waited for longest for such work.
    pub(crate) fn next_undecided(&mut self, work: Work) -> Option<(HeadKey, Decide)> {
        while let Some(key) = self.undecided[work as usize].pop_front() {
            // The poll says nothing of a pipe.
            if self.get_mut(key).is_some_and(|connection| connection.socket.is_piped() && connection.socket.has_left())
            {
                drop(self.remove(key));
            }
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

    /// Whoever came at or before `then_ms` and has not become anything. Who waits for this shard to read what came is
    /// not late, and has the same time again from `now_ms` on.
    pub(crate) fn take_late(&mut self, then_ms: u64, now_ms: u64) -> Option<Connection> {
        // Each once: some go to the end again.
        for _ in 0..self.arrivals.len() {
            let (_, key) = self.arrivals.pop_front_if(|(came_ms, _)| *came_ms <= then_ms)?;
            match find(&self.connections, key) {
                Some(connection) if connection.is_readable => self.arrivals.push_back((now_ms, key)),
                Some(connection) if connection.stage != Stage::Deciding => return self.remove(key),
                _ => {}
            }
        }
        None
    }

    /// Whoever waits since `then_ms` or before for its admission to be decided.
    pub(crate) fn take_undecided(&mut self, then_ms: u64) -> Option<Connection> {
        while let Some((_, key)) = self.deciding.pop_front_if(|(since_ms, _)| *since_ms <= then_ms) {
            if self.get_mut(key).is_some_and(|connection| connection.stage == Stage::Deciding) {
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
        forget_gone(unfinished, *buffers, |&key| find(connections, key).is_some_and(|it| it.is_unfinished));
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

fn find(connections: &Slab<Connection>, key: HeadKey) -> Option<&Connection> {
    connections.get(key.index).filter(|connection| connection.serial == key.serial)
}

/// Takes the keys of those that have gone from a queue, once they are more than the `here` that have not.
fn forget_gone<K>(queue: &mut VecDeque<K>, here: usize, is_here: impl FnMut(&K) -> bool) {
    if queue.len() > 2 * here + GONE_KEYS_MAX {
        queue.retain(is_here);
    }
}

#[cfg(test)]
mod tests;
