use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidewire_core::ClientAddress;

use crate::Refusal;
use crate::addresses::Network;
use crate::heads::Stage;
use crate::listen::Door;
use crate::mailbox::{Mailbox, Message};
use crate::reactor::{Reactor, Shared, millis};
use crate::stats::add;
use crate::transport::Transport;
use crate::{Opening, Socket};

/// How long a request head may take while the shards hold as many sockets as they may, in milliseconds: whoever says
/// nothing would else keep all others waiting for the whole of `head_timeout`.
const FULL_HEAD_TIMEOUT_MS: u64 = 1_000;

/// What a shard knows of connections that wait to be accepted.
pub(crate) struct Accepting {
    doors: Vec<Door>,
    /// The shards to which connections are dealt out in turn, where one accepts for all.
    others: Arc<[Arc<Mailbox>]>,
    next: usize,
    /// Some may wait, of which the poll says no more.
    wait: Option<Wait>,
    /// How many sockets of this shard are counted in those held by all.
    held: usize,
    /// Those that nobody takes for their handshakes yet; others wait to be accepted meanwhile.
    unopened: VecDeque<(TcpStream, ClientAddress)>,
}

/// For what those wait who were not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// For sockets to be closed: the shards hold as many as they may.
    Room,
    /// For whatever made the system refuse, or for others' handshakes to be over; there is nothing to do but to try again a
    /// little later.
    Others,
}

/// A socket between two shards: it was counted among those held, and is no more when this is dropped.
pub(crate) struct OnItsWay(Arc<Shared>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among `max_streams` for a connection on which it takes long to decide: those who wait so hold none of the
/// sockets that are set aside for others.
pub(crate) struct Promise(Arc<Shared>, Option<Network>);

impl Promise {
    /// Refused where streams and promises have all places, or all that the address may have.
    pub(crate) fn new(shared: &Arc<Shared>, network: Option<Network>) -> Result<Promise, Refusal> {
        shared.take_place_of(network)?;
        // Counted first: another shard may be giving the last one away.
        let promised = shared.promised.fetch_add(1, Ordering::Relaxed);
        let promise = Promise(Arc::clone(shared), network);
        let streams = shared.stats.streams.load(Ordering::Relaxed);
        let is_free = streams.saturating_add(promised) < shared.config.max_streams as u64;
        is_free.then_some(promise).ok_or(Refusal::TooManyStreams)
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.0.promised.fetch_sub(1, Ordering::Relaxed);
        self.0.give_back_place_of(self.1);
    }
}

impl Shared {
    /// Counts a stream, or a promise of one, as its address's.
    fn take_place_of(&self, network: Option<Network>) -> Result<(), Refusal> {
        match (&self.addresses, network) {
            (Some(addresses), Some(network)) if !addresses.take(network) => Err(Refusal::TooManyStreamsPerAddress),
            _ => Ok(()),
        }
    }

    /// It ended.
    pub(crate) fn give_back_place_of(&self, network: Option<Network>) {
        if let (Some(addresses), Some(network)) = (&self.addresses, network) {
            addresses.give_back(network);
        }
    }

    /// Counts a stream that begins, in all and as its address's.
    pub(crate) fn take_place(&self, network: Option<Network>) -> Result<(), Refusal> {
        self.take_place_of(network)?;
        // Counted first: another shard may be opening the last one that is allowed.
        let taken = self.stats.streams.fetch_add(1, Ordering::Relaxed) + self.promised.load(Ordering::Relaxed);
        if taken < self.config.max_streams as u64 {
            return Ok(());
        }
        self.stats.streams.fetch_sub(1, Ordering::Relaxed);
        self.give_back_place_of(network);
        Err(Refusal::TooManyStreams)
    }
}

impl Accepting {
    pub(crate) fn new(doors: Vec<Door>) -> Accepting {
        Accepting { doors, others: Arc::default(), next: 0, wait: None, held: 0, unopened: VecDeque::new() }
    }

    /// From now on connections that are to be dealt out go to these shards.
    pub(crate) fn deal_to(&mut self, shards: Arc<[Arc<Mailbox>]>) {
        self.others = shards;
    }
}

impl Reactor {
    /// Accepts all that wait, as far as there is room. Those for whom there is none stay with the
    /// system, and cost no descriptor.
    pub(crate) fn accept(&mut self) {
        self.accepting.wait = None;
        for _ in 0..self.accepting.unopened.len() {
            let Some((socket, peer)) = self.accepting.unopened.pop_front() else { break };
            self.open(socket, peer);
        }
        let mut door = 0;
        loop {
            self.note_held();
            if !self.accepting.unopened.is_empty() {
                add(&self.shared.stats.accept_pauses, 1);
                self.accepting.wait = Some(Wait::Others);
                return;
            }
            let Some(listener) = self.accepting.doors.get(door) else { return };
            // Counted first: another shard may be accepting the last one for which there is room.
            let held = &self.shared.held;
            if held.fetch_add(1, Ordering::Relaxed) >= self.shared.config.max_sockets {
                held.fetch_sub(1, Ordering::Relaxed);
                add(&self.shared.stats.accept_pauses, 1);
                self.accepting.wait = Some(Wait::Room);
                return;
            }
            let (accepted, deals) = (listener.accept(), listener.deals);
            if accepted.is_err() {
                held.fetch_sub(1, Ordering::Relaxed);
            }
            match accepted {
                Ok((socket, peer)) => {
                    let stage = self.first_stage(peer);
                    add(&self.shared.stats.accepted, 1);
                    let accepting = &mut self.accepting;
                    if self.shared.config.opening == Opening::Handshake {
                        accepting.held += 1;
                        match stage {
                            Stage::Introduced => self.take_in(Transport::Tcp(socket), peer, stage, None),
                            _ => self.open(socket.into(), peer),
                        }
                    } else if accepting.others.is_empty() || !deals {
                        accepting.held += 1;
                        self.take_in(Transport::Tcp(socket), peer, stage, None);
                    } else {
                        let on_its_way = OnItsWay(Arc::clone(&self.shared));
                        accepting.others[accepting.next].post(Message::Dealt(socket.into(), peer, on_its_way));
                        accepting.next = (accepting.next + 1) % accepting.others.len();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => door += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to accept");
                    add(&self.shared.stats.accept_failures, 1);
                    self.accepting.wait = Some(Wait::Others);
                    return;
                }
            }
        }
    }

    /// What a connection that was accepted waits for.
    pub(crate) fn first_stage(&self, peer: ClientAddress) -> Stage {
        let is_introduced = self.shared.config.introducers.contains(peer);
        if is_introduced { Stage::Introduced } else { Stage::Reading }
    }

    /// Has somebody take a connection for its handshake, or holds it until somebody does.
    pub(crate) fn open(&mut self, socket: TcpStream, peer: ClientAddress) {
        match (self.shared.hand_over)(Socket::Tcp(socket), Vec::new(), peer) {
            Ok(()) => {}
            Err(Socket::Tcp(socket)) => {
                self.accepting.unopened.push_back((socket, peer));
                self.accepting.wait = Some(Wait::Others);
            }
            Err(Socket::Tls(_)) => unreachable!("it gives back what it was given"),
        }
    }

    /// Tries again, at a tick, whatever those who wait are waiting for: room may have been made by another shard.
    pub(crate) fn accept_again(&mut self) {
        if self.accepting.wait == Some(Wait::Others) || self.has_room() {
            self.accept();
        }
    }

    /// Accepts those who waited for room that this turn has made.
    pub(crate) fn note_room(&mut self) {
        self.note_held();
        if self.has_room() {
            self.accept();
        }
    }

    fn has_room(&self) -> bool {
        self.accepting.wait == Some(Wait::Room) && !self.is_full()
    }

    fn is_full(&self) -> bool {
        self.shared.held.load(Ordering::Relaxed) >= self.shared.config.max_sockets
    }

    /// How long a request head may take now, in milliseconds.
    pub(crate) fn head_timeout_ms(&self) -> u64 {
        let timeout_ms = millis(self.shared.config.head_timeout);
        if self.is_full() { timeout_ms.min(FULL_HEAD_TIMEOUT_MS) } else { timeout_ms }
    }

    /// Has this shard's sockets counted among those held by all.
    pub(crate) fn note_held(&mut self) {
        let now = self.heads.len() + self.shard.len() + self.accepting.unopened.len();
        let before = std::mem::replace(&mut self.accepting.held, now);
        if now > before {
            self.shared.held.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            self.shared.held.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// Has this shard's sockets no longer counted: it ends.
    pub(crate) fn forget_held(&mut self) {
        self.shared.held.fetch_sub(std::mem::take(&mut self.accepting.held), Ordering::Relaxed);
    }
}
