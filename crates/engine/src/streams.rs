use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::event::Event;
use mio::{Interest, Token};
use tidewire_core::{CatchUp, CatchUpRead, CaughtUp, Farewell, Heartbeat, Owed, Shard, SlotKey, StreamStart};
use tidewire_log::ReadError;

use crate::addresses::network;
use crate::inspect;
use crate::mailbox::Message;
use crate::pipe::Leave;
use crate::pool::{Waiting, guarded};
use crate::reactor::Reactor;
use crate::stats::{Stats, add};
use crate::transport::Transport;
use crate::{ConnectionId, End, News};

/// Reads at one go of what a client says on a stream, which means nothing; who says more is closed.
const IDLE_READS_MAX: usize = 4;

const _: () = assert!(Shard::<Transport>::SLOT_BYTES <= 128, "a subscriber's slot takes at most 128 bytes");

/// What was sent in this turn.
#[derive(Default)]
pub(crate) struct Sent {
    deliveries: usize,
    bytes: usize,
    writes: usize,
    short_writes: usize,
}

impl Sent {
    pub(crate) fn flush(&mut self, stats: &Stats) {
        if self.writes > 0 {
            add(&stats.deliveries, self.deliveries);
            add(&stats.sent_bytes, self.bytes);
            add(&stats.writes, self.writes);
            add(&stats.short_writes, self.short_writes);
            *self = Sent::default();
        }
    }
}

impl Reactor {
    /// Begins a stream, which is counted already, for whoever sent this head.
    pub(crate) fn open_stream(&mut self, socket: Transport, stream: StreamStart, peer: SocketAddr, head: &[u8]) {
        if let Err(error) = socket.tune(self.shared.config.stall_timeout) {
            tracing::debug!(%error, "failed to set a stream's socket options");
        }
        let stats = &self.shared.stats;
        if let Some(gap) = &stream.start.gap {
            add(&stats.gaps[gap.reason.index()], 1);
        }
        let listens = self.shared.admit.listens();
        let subject = stream.subject.clone().filter(|_| listens);
        let is_tls = socket.is_tls();
        if is_tls {
            add(&stats.tls_streams, 1);
        }
        if socket.is_piped() {
            add(&stats.piped_streams, 1);
        }
        let key = self.shard.join(socket, stream, &self.shared.tail, self.now_ms);
        if let Some(network) = network(peer).filter(|_| self.shared.addresses.is_some()) {
            self.networks.note(key.index(), network);
        }
        if listens {
            let id = ConnectionId::new(self.number, key);
            self.shared.admit.tell(&News::Begun { id, peer, head, subject: subject.as_deref() });
        }
        let Some(socket) = self.shard.transport(key) else { return };
        let registered = match socket {
            Transport::Pipe(pipe) if !pipe.attach(&self.mailbox, key) => return self.close(key, End::Client),
            socket => self.poll.registry().reregister(socket, Token(key.index()), Interest::READABLE),
        };
        add(&stats.streams_begun, 1);
        match registered {
            Ok(()) => {
                self.visit(key);
                // The poll says nothing of what TLS has read already.
                if is_tls {
                    self.read_idle(key);
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to register a stream");
                self.close(key, End::Failure);
            }
        }
    }

    /// One round over those who are owed something.
    pub(crate) fn deliver(&mut self) {
        self.shard.observe(&self.shared.tail);
        self.shard.begin_round();
        while let Some(key) = self.shard.next_visit() {
            self.visit(key);
        }
    }

    pub(crate) fn visit(&mut self, key: SlotKey) {
        match self.shard.owed(key, &self.shared.tail) {
            Owed::Nothing => {}
            Owed::Write(bytes, socket) => {
                let written = write(socket, bytes);
                self.wrote(key, written);
            }
            Owed::CatchUp(job) => self.read_log(job),
            Owed::End(socket) => {
                inspect::end(socket);
                self.close(key, End::Order);
            }
        }
    }

    fn wrote(&mut self, key: SlotKey, written: io::Result<Taken>) {
        let Taken { bytes, is_held } = match written {
            Ok(taken) => taken,
            Err(error) => return self.failed(key, &error),
        };
        let wrote = self.shard.wrote(key, bytes, self.now_ms);
        self.sent.writes += 1;
        self.sent.bytes += bytes;
        self.sent.deliveries += wrote.frames;
        if wrote.is_blocked || is_held {
            self.sent.short_writes += 1;
            self.shard.hold(key);
            self.await_room(key, Interest::READABLE | Interest::WRITABLE);
        }
    }

    /// `EPOLLOUT` is asked for only after a short write.
    fn await_room(&mut self, key: SlotKey, interest: Interest) {
        let Some(socket) = self.shard.transport(key) else { return };
        if let Err(error) = self.poll.registry().reregister(socket, Token(key.index()), interest) {
            tracing::error!(%error, "failed to register a stream");
            self.close(key, End::Failure);
        }
    }

    pub(crate) fn stream_ready(&mut self, key: SlotKey, event: &Event) {
        if event.is_writable() && self.shard.is_blocked(key) {
            self.send_held(key);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read_idle(key);
        }
    }

    /// Goes on with a stream that waited for room, once what its transport held is with the system.
    fn send_held(&mut self, key: SlotKey) {
        let Some(socket) = self.shard.transport(key) else { return };
        match socket.send_held() {
            Ok(sent) => {
                let is_held = socket.holds();
                if sent > 0 {
                    self.shard.progressed(key, self.now_ms);
                }
                if !is_held {
                    self.shard.writable(key);
                    self.await_room(key, Interest::READABLE);
                }
            }
            Err(error) => self.failed(key, &error),
        }
    }

    /// What was read on a stream may have to be answered by its transport, which then may have to wait for room.
    fn note_answer(&mut self, key: SlotKey) {
        let holds = self.shard.transport(key).is_some_and(|socket| socket.holds());
        if holds && !self.shard.is_blocked(key) {
            self.shard.hold(key);
            self.await_room(key, Interest::READABLE | Interest::WRITABLE);
        }
    }

    /// A client has nothing to say on a stream: what it sends is read and dropped.
    fn read_idle(&mut self, key: SlotKey) {
        for _ in 0..IDLE_READS_MAX {
            let Some(socket) = self.shard.transport(key) else { return };
            match socket.read(&mut self.scratch) {
                Ok(0) => return self.close(key, End::Client),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.note_answer(key),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.failed(key, &error),
            }
        }
        self.close(key, End::Talk);
    }

    /// Closes a stream whose socket failed. A client that takes nothing for `stall_timeout` is mostly given up
    /// by the system (`TCP_USER_TIMEOUT`) before a look at its slice finds it.
    fn failed(&mut self, key: SlotKey, error: &io::Error) {
        let is_stall = error.kind() == ErrorKind::TimedOut;
        if is_stall {
            add(&self.shared.stats.stalls, 1);
        }
        self.close(key, if is_stall { End::Stall } else { End::Connection });
    }

    /// Closes a stream without a socket whose reader has left.
    pub(crate) fn left(&mut self, key: SlotKey, why: Leave) {
        if self.shard.holds(key) && why == Leave::Stalled {
            add(&self.shared.stats.stalls, 1);
        }
        self.close(key, if why == Leave::Stalled { End::Stall } else { End::Client });
    }

    fn read_log(&mut self, job: CatchUp) {
        add(&self.shared.stats.catch_up_reads, 1);
        let (key, reads_before) = (job.key(), job.reads_before());
        let (log, mailbox) = (Arc::clone(&self.shared.log), Arc::clone(&self.mailbox));
        let job = Box::new(move || {
            let read = guarded(|| job.read(&*log)).unwrap_or_else(|| Err(io::Error::other("a read panicked").into()));
            mailbox.post(Message::CaughtUp(key, read));
        });
        self.reads.submit(Waiting { key, reads_before, job }, &self.shared.readers, |key| self.shard.holds(key));
    }

    pub(crate) fn caught_up(&mut self, key: SlotKey, read: Result<CatchUpRead, ReadError>) {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "failed to read the log for a stream, which is closed");
                add(&self.shared.stats.read_failures, 1);
                return self.close(key, End::Failure);
            }
        };
        let gaps_before = self.shard.gaps_told();
        match self.shard.caught_up(read, &self.shared.tail) {
            CaughtUp::Write(bytes, socket) => {
                let written = write(socket, bytes);
                self.wrote(key, written);
            }
            CaughtUp::Torn => self.close(key, End::Torn),
            CaughtUp::Nothing => {}
        }
        for ((counter, now), before) in self.shared.stats.gaps.iter().zip(self.shard.gaps_told()).zip(gaps_before) {
            counter.fetch_add(now - before, Ordering::Relaxed);
        }
    }

    pub(crate) fn look_at_slice(&mut self, slice: u32, slices: u32) {
        let mut due = Vec::new();
        self.shard.look(slice, slices, self.now_ms, &mut due);
        for heartbeat in due {
            match heartbeat {
                Heartbeat::Visit(key) => {
                    add(&self.shared.stats.heartbeats, 1);
                    self.visit(key);
                }
                Heartbeat::Stalled(key) => {
                    add(&self.shared.stats.stalls, 1);
                    self.close(key, End::Stall);
                }
            }
        }
    }

    pub(crate) fn close(&mut self, key: SlotKey, why: End) {
        if self.shared.admit.listens() {
            self.tell_end(key, why);
        }
        if let Some(transport) = self.shard.leave(key) {
            let stats = &self.shared.stats;
            stats.streams.fetch_sub(1, Ordering::Relaxed);
            if transport.is_tls() {
                stats.tls_streams.fetch_sub(1, Ordering::Relaxed);
            }
            if transport.is_piped() {
                stats.piped_streams.fetch_sub(1, Ordering::Relaxed);
            }
            self.shared.give_back_place_of(self.networks.take(key.index()));
        }
    }
}

impl Reactor {
    fn tell_end(&mut self, key: SlotKey, why: End) {
        let Some(Farewell { subject, deliveries, age_s }) = self.shard.farewell(key, self.now_ms) else { return };
        let peer = self.shard.transport(key).and_then(|transport| transport.seen().address);
        let id = ConnectionId::new(self.number, key);
        let news = News::Ended { id, peer, subject: subject.as_deref(), why, deliveries, age_s };
        self.shared.admit.tell(&news);
    }
}

/// What a transport took.
struct Taken {
    bytes: usize,
    /// Not all of it is with the system.
    is_held: bool,
}

/// Writes what the socket takes; nothing if it takes nothing now.
fn write(socket: &mut Transport, bytes: &[u8]) -> io::Result<Taken> {
    let bytes = loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => break 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => break written?,
        }
    };
    Ok(Taken { bytes, is_held: socket.holds() })
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
