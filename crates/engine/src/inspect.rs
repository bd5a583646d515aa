//! Looking at the streams of all shards from elsewhere, and ending one. A shard answers a question between two
//! rounds of delivery, and each question costs it little: whoever wants to know more asks again.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tidewire_core::{LAST_CHUNK, SlotKey, Subscriber, Subscribers};

use crate::EngineHandle;
use crate::mailbox::Message;
use crate::reactor::Reactor;
use crate::transport::Transport;

/// How long a shard may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What a shard is asked.
pub(crate) type Question = Box<dyn FnOnce(&mut Reactor) + Send>;

/// A stream as it stands.
pub type Connection = Subscriber<Carried>;

/// What carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Where its client is, as long as that is connected.
    pub address: Option<SocketAddr>,
    /// It has no socket ([`EngineHandle::open`]).
    pub is_piped: bool,
}

/// Names a stream for as long as the engine runs; no other ever has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId {
    shard: u32,
    key: SlotKey,
}

/// A point in the order in which streams are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionPlace {
    shard: u32,
    slot: u32,
}

/// Some of the streams.
#[derive(Debug)]
pub struct Connections {
    /// Those that were asked for.
    pub found: Vec<(ConnectionId, Connection)>,
    /// From where to go on, if there are more.
    pub next: Option<ConnectionPlace>,
}

/// A shard has ended, or does not answer.
#[derive(Debug, thiserror::Error)]
#[error("a shard does not answer")]
pub struct NoAnswer;

/// The text is not three numbers with hyphens between them.
#[derive(Debug, thiserror::Error)]
#[error("not the id of a connection")]
pub struct ParseConnectionIdError;

impl EngineHandle {
    /// Looks at a bounded number of streams from a place on: all of them, or those of a subject. It waits for the
    /// shard.
    ///
    /// # Errors
    /// When the shard does not answer.
    pub fn connections(&self, from: ConnectionPlace, subject: Option<&str>) -> Result<Connections, NoAnswer> {
        let ConnectionPlace { shard, slot } = from;
        let subject = subject.map(str::to_owned);
        if shard as usize >= self.mailboxes.len() {
            return Ok(Connections { found: Vec::new(), next: None });
        }
        let Subscribers { found, next } = self.ask(shard, move |reactor| {
            let Reactor { shard, shared, now_ms, .. } = reactor;
            shard.subscribers(slot, subject.as_deref(), &shared.tail, *now_ms, Transport::seen)
        })?;
        let has_next_shard = shard as usize + 1 < self.mailboxes.len();
        let next_shard = has_next_shard.then_some(ConnectionPlace { shard: shard + 1, slot: 0 });
        let named = found.into_iter().map(|found| (ConnectionId { shard, key: found.key }, found));
        Ok(Connections {
            found: named.collect(),
            next: next.map(|slot| ConnectionPlace { shard, slot }).or(next_shard),
        })
    }

    /// How many streams there are whose filters match each of the topics, whatever types they ask for and may read.
    /// It costs each shard what matching an event on each of them does, and waits for all of them.
    ///
    /// # Errors
    /// When a shard does not answer.
    pub fn subscribers_of(&self, topics: &[String]) -> Result<Vec<u64>, NoAnswer> {
        let mut sums = vec![0; topics.len()];
        for shard in 0..self.mailboxes.len() {
            let topics = topics.to_vec();
            let shard = u32::try_from(shard).expect("there are few shards");
            let counts = self.ask(shard, move |reactor| {
                topics.iter().map(|topic| reactor.shard.subscribers_of(topic)).collect::<Vec<_>>()
            })?;
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(sums)
    }

    /// Ends a stream behind what is begun on it, with its last chunk; says whether it is there.
    ///
    /// # Errors
    /// When the shard does not answer.
    pub fn end(&self, id: ConnectionId) -> Result<bool, NoAnswer> {
        if id.shard as usize >= self.mailboxes.len() {
            return Ok(false);
        }
        self.ask(id.shard, move |reactor| reactor.shard.end(id.key))
    }

    fn ask<T: Send + 'static>(
        &self,
        shard: u32,
        question: impl FnOnce(&mut Reactor) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (sender, receiver) = sync_channel(1);
        let ask = move |reactor: &mut Reactor| {
            // Who has asked may have given up.
            let _ = sender.try_send(question(reactor));
        };
        self.mailboxes[shard as usize].post(Message::Asked(Box::new(ask)));
        receiver.recv_timeout(ANSWER_MAX).map_err(|error| {
            if error == RecvTimeoutError::Timeout {
                tracing::error!(shard, "a shard has not answered for {ANSWER_MAX:?}");
            }
            NoAnswer
        })
    }
}

/// Writes what ends a stream on which nothing is unfinished.
pub(crate) fn end(socket: &mut Transport) {
    if let Err(error) = socket.write_last(LAST_CHUNK) {
        tracing::debug!(%error, "failed to end a stream");
    }
}

impl ConnectionPlace {
    /// The place behind a stream.
    #[must_use]
    pub fn after(id: ConnectionId) -> ConnectionPlace {
        // Slots are counted in a u32, the last of which is never given out.
        ConnectionPlace { shard: id.shard, slot: u32::try_from(id.key.index() + 1).unwrap_or(u32::MAX) }
    }
}

impl fmt::Display for ConnectionPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard, self.slot)
    }
}

impl FromStr for ConnectionPlace {
    type Err = ParseConnectionIdError;

    fn from_str(text: &str) -> Result<ConnectionPlace, ParseConnectionIdError> {
        let (shard, slot) = text.split_once('-').ok_or(ParseConnectionIdError)?;
        Ok(ConnectionPlace { shard: number(shard)?, slot: number(slot)? })
    }
}

impl ConnectionId {
    pub(crate) fn new(shard: u32, key: SlotKey) -> ConnectionId {
        ConnectionId { shard, key }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard, self.key.index(), self.key.generation())
    }
}

impl FromStr for ConnectionId {
    type Err = ParseConnectionIdError;

    fn from_str(text: &str) -> Result<ConnectionId, ParseConnectionIdError> {
        let (place, generation) = text.rsplit_once('-').ok_or(ParseConnectionIdError)?;
        let ConnectionPlace { shard, slot } = place.parse()?;
        Ok(ConnectionId { shard, key: SlotKey::new(slot, number(generation)?) })
    }
}

/// A number as it is written, without a sign or zeros before it: an id has one form.
fn number(digits: &str) -> Result<u32, ParseConnectionIdError> {
    let is_canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| is_canonical).ok_or(ParseConnectionIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_places_are_read_as_they_are_written() {
        for text in ["0-0-0", "3-17-4294967295"] {
            assert_eq!(text.parse::<ConnectionId>().expect("an id").to_string(), text);
        }
        let id: ConnectionId = "3-17-5".parse().expect("an id");
        let place = ConnectionPlace::after(id);
        assert_eq!((place.to_string(), "3-18".parse().ok()), ("3-18".to_owned(), Some(place)));
        for text in ["", "1", "1-2", "1-2-", "-1-2-3", "1-2-3-4", "01-2-3", "1-+2-3", "1-2-4294967296", "a-b-c"] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text}");
        }
        assert!("1-2-3".parse::<ConnectionPlace>().is_err());
    }
}
