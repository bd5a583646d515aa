use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tidewire_core::{ClientAddress, Lag, Limits, Shard};
use tidewire_log::{EventLog, Tail};

use crate::accepting::{Accepting, Promise};
use crate::addresses::{Addresses, Networks, network};
use crate::clock::Clock;
use crate::drain::Drain;
use crate::heads::{self, Connection, HeadKey, Heads, Parsed, Stage};
use crate::listen::Door;
use crate::mailbox::{Mailbox, Message};
use crate::pool::{Job, Pool, Reads, UnderWay, guarded};
use crate::stats::{Stats, add};
use crate::streams::Sent;
use crate::transport::Transport;
use crate::{Admission, Admit, Decide, EngineConfig, HandOver, News, Refusal, Work};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Set in the token of a connection that is not a stream yet.
pub(crate) const HEAD_BIT: usize = 1 << (usize::BITS - 2);
/// How often the shard looks at the clock, in milliseconds.
const TICK_MS: u64 = 100;
/// How many heads are served between two rounds of delivery.
const HEADS_A_TURN: usize = 64;
/// How many heads are refused at a tick since it takes too long to decide on them: they may all be late at once.
const LATE_A_TICK: usize = 512;
/// How much is read at a time, in bytes.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// What the shards have in common.
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) tail: Arc<Tail>,
    pub(crate) admit: Arc<dyn Admit>,
    pub(crate) hand_over: HandOver,
    pub(crate) readers: Pool,
    pub(crate) deciders: Deciders,
    pub(crate) stats: Arc<Stats>,
    /// Sockets that the shards hold, and those on the way to one that was dealt them.
    pub(crate) held: AtomicUsize,
    /// Places among `max_streams` for connections on which it takes long to decide.
    pub(crate) promised: AtomicU64,
    /// None where an address may have as many streams as there may be.
    pub(crate) addresses: Option<Addresses>,
}

/// Who decides what takes long, by the work that it takes.
pub(crate) struct Deciders {
    pub(crate) readers: Pool,
    pub(crate) seekers: Pool,
}

impl Deciders {
    fn of(&self, work: Work) -> &Pool {
        match work {
            Work::Reading => &self.readers,
            Work::Seeking => &self.seekers,
        }
    }
}

/// One shard's thread: its poll, its listener, and its connections.
pub(crate) struct Reactor {
    /// Which of the shards it is.
    pub(crate) number: u32,
    pub(crate) poll: Poll,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) shard: Shard<Transport>,
    pub(crate) reads: Reads,
    deciding: [UnderWay; Work::KINDS],
    pub(crate) sent: Sent,
    pub(crate) now_ms: u64,
    pub(crate) scratch: Box<[u8]>,
    pub(crate) accepting: Accepting,
    pub(crate) heads: Heads,
    /// Those of its streams.
    pub(crate) networks: Networks,
    /// Since the hub stops.
    pub(crate) drain: Option<Drain>,
    slices: u32,
    /// Of the slices looked at since the first one.
    lag: Lag,
    next_slice: u32,
    next_tick_ms: u64,
}

impl Reactor {
    /// With a door, it accepts; the others are dealt connections by those that do.
    pub(crate) fn new(number: u32, mut doors: Vec<Door>, shared: Arc<Shared>) -> io::Result<(Reactor, Arc<Mailbox>)> {
        let poll = Poll::new()?;
        for door in &mut doors {
            door.register(poll.registry(), LISTENER)?;
        }
        let mailbox = Arc::new(Mailbox::new(mio::Waker::new(poll.registry(), WAKER)?));
        let limits =
            Limits { heartbeat_ms: millis(shared.config.heartbeat), stall_ms: millis(shared.config.stall_timeout) };
        let reactor = Reactor {
            number,
            poll,
            shared,
            mailbox: Arc::clone(&mailbox),
            shard: Shard::new(limits),
            reads: Reads::default(),
            deciding: Default::default(),
            sent: Sent::default(),
            now_ms: 0,
            scratch: vec![0; READ_BYTES].into(),
            accepting: Accepting::new(doors),
            heads: Heads::default(),
            networks: Networks::default(),
            drain: None,
            slices: limits.slices(TICK_MS),
            lag: Lag::default(),
            next_slice: 0,
            next_tick_ms: TICK_MS,
        };
        Ok((reactor, mailbox))
    }

    pub(crate) fn run(mut self) {
        let clock = Clock::start();
        let mut events = Events::with_capacity(1024);
        let mut is_stopped = false;
        while !is_stopped {
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "a shard failed to wait for its sockets");
                return;
            }
            self.now_ms = clock.now_ms();
            for event in &events {
                self.ready(event);
            }
            for message in self.mailbox.take() {
                match message {
                    Message::Drain(turns) => self.drain = Some(Drain::begin(turns, self.now_ms)),
                    Message::Stop => is_stopped = true,
                    other => self.receive(other),
                }
            }
            for _ in 0..HEADS_A_TURN.min(self.heads.readable()) {
                if let Some(key) = self.heads.take_readable() {
                    self.read_head(key);
                }
            }
            self.deliver();
            self.drain();
            self.note_room();
            while self.now_ms >= self.next_tick_ms {
                self.next_tick_ms += TICK_MS;
                self.tick();
            }
            self.sent.flush(&self.shared.stats);
        }
        self.end_streams();
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let has_streams = !self.shard.is_empty();
        self.mailbox.fall_asleep(has_streams);
        let has_work = self.shard.has_work()
            || has_streams && self.shard.has_news(&self.shared.tail)
            || self.heads.readable() > 0
            || !self.mailbox.is_empty();
        let tick_ms = self.next_tick_ms.saturating_sub(self.now_ms).min(TICK_MS);
        let timeout_ms = if has_work { 0 } else { self.next_turn_ms().unwrap_or(tick_ms).min(tick_ms) };
        let waited = self.poll.poll(events, Some(Duration::from_millis(timeout_ms)));
        self.mailbox.wake_up();
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn ready(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            WAKER => {}
            Token(number) if number & HEAD_BIT != 0 => {
                if let Some(key) = self.heads.key_at(number & !HEAD_BIT) {
                    self.heads.note_readable(key);
                }
            }
            Token(number) => {
                if let Some(key) = self.shard.key_at(number) {
                    self.stream_ready(key, event);
                }
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Adopt(socket, admit, peer) => {
                add(&self.shared.stats.adopted, 1);
                self.take_in(socket.into(), peer, Stage::Reading, admit);
            }
            Message::Dealt(socket, peer, on_its_way) => {
                let stage = self.first_stage(peer);
                self.take_in(Transport::Tcp(TcpStream::from_std(socket)), peer, stage, None);
                // It is counted as this shard's before it is not on its way any more.
                self.note_held();
                drop(on_its_way);
            }
            Message::Decided(key, work, admission) => {
                self.deciding[work as usize].finished();
                self.decided(key, admission);
                self.begin_deciding(work);
            }
            Message::CaughtUp(key, read) => {
                // First: what was read is held until it is written, and so many may be held.
                self.caught_up(key, read);
                self.reads.finished(&self.shared.readers, |key| self.shard.holds(key));
            }
            Message::Open(pipe, admit) => {
                let peer = pipe.peer();
                self.take_in(Transport::Pipe(pipe), peer, Stage::Reading, Some(admit));
            }
            Message::Writable(key) => self.shard.writable(key),
            Message::Left(key, why) => self.left(key, why),
            Message::Asked(question) => question(self),
            Message::Drain(_) | Message::Stop => {}
        }
    }

    fn tick(&mut self) {
        self.accept_again();
        self.look_at_ending();
        self.look_at_slice(self.next_slice, self.slices);
        self.lag.add(self.shard.lag_of(self.next_slice, self.slices, &self.shared.tail));
        self.next_slice = (self.next_slice + 1) % self.slices;
        if self.next_slice == 0 {
            self.mailbox.set_lag(std::mem::take(&mut self.lag));
        }
        let late_ms = self.now_ms.checked_sub(self.head_timeout_ms());
        while let Some(connection) = late_ms.and_then(|then_ms| self.heads.take_late(then_ms, self.now_ms)) {
            if connection.stage == Stage::Reading && !connection.bytes.is_empty() {
                self.refuse(connection.socket, connection.peer, Refusal::HeadTimeout);
            }
        }
        self.refuse_late();
    }

    /// Refuses those on whom it takes too long to decide: while a disk hangs, they would keep the places of streams from
    /// those who need no disk. But not while the hub stops: nobody is refused then.
    fn refuse_late(&mut self) {
        let late_ms = self.now_ms.checked_sub(millis(self.shared.config.decide_timeout));
        let Some(late_ms) = late_ms.filter(|_| self.drain.is_none()) else { return };
        for _ in 0..LATE_A_TICK {
            let Some(connection) = self.heads.take_undecided(late_ms) else { return };
            add(&self.shared.stats.undecided_timeouts, 1);
            self.refuse(connection.socket, connection.client, Refusal::UndecidedTimeout);
        }
    }

    /// Takes in a connection, whose turn comes among the heads: with `admit`, its head was read elsewhere.
    pub(crate) fn take_in(&mut self, mut socket: Transport, peer: ClientAddress, stage: Stage, admit: Option<Decide>) {
        let token = Token(HEAD_BIT | self.heads.next_key().index());
        if let Err(error) = self.poll.registry().register(&mut socket, token, Interest::READABLE) {
            tracing::error!(%error, "failed to register a connection");
            return;
        }
        let key = self.heads.insert(socket, peer, Vec::new(), stage, self.now_ms);
        if let Some(connection) = self.heads.get_mut(key) {
            connection.admit = admit;
        }
    }

    /// Reads what there is of a head; a whole one is admitted, handed over or put off.
    fn read_head(&mut self, key: HeadKey) {
        let Some(connection) = self.heads.get_mut(key) else { return };
        match connection.stage {
            Stage::Introduced => return self.read_introduction(key),
            Stage::Reading => {}
            Stage::Deciding => {
                if connection.socket.has_left() {
                    self.heads.remove(key);
                }
                return;
            }
            Stage::Closing => return self.read_closing(key),
        }
        if let Some(admit) = connection.admit.take() {
            return self.decide(key, admit());
        }
        loop {
            let peer = connection.peer;
            let admit = &*self.shared.admit;
            match heads::parse(&connection.bytes, connection.seen, peer, |head| admit.admit(head)) {
                Parsed::Whole(admission) => return self.decide(key, admission),
                Parsed::Http2 => return self.decide(key, Admission::HandOver),
                Parsed::TooLarge => return self.refuse_head(key, Refusal::HeadTooLarge),
                Parsed::Malformed => return self.refuse_head(key, Refusal::HeadMalformed),
                Parsed::Partial if connection.bytes.len() >= self.shared.config.head_bytes_max => {
                    return self.refuse_head(key, Refusal::HeadTooLarge);
                }
                Parsed::Partial => {}
            }
            connection.seen = connection.bytes.len();
            let room = (self.shared.config.head_bytes_max - connection.seen).min(self.scratch.len());
            match connection.socket.read(&mut self.scratch[..room]) {
                Ok(0) => {
                    self.heads.remove(key);
                    return;
                }
                Ok(read) => connection.bytes.extend_from_slice(&self.scratch[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.heads.remove(key);
                    return;
                }
            }
        }
        if let Some(oldest) = self.heads.note_unfinished(key, self.shared.config.head_buffers_max) {
            self.refuse(oldest.socket, oldest.peer, Refusal::HeadTimeout);
        }
    }

    fn decide(&mut self, key: HeadKey, admission: Admission) {
        if let Admission::Later(work, client, decide) = admission {
            let Some(connection) = self.heads.get_mut(key) else { return };
            if connection.socket.has_left() {
                // Nothing more will be heard of the socket.
                self.heads.remove(key);
                return;
            }
            connection.client = client;
            let network = network(client);
            if self.heads.waiting() >= self.shared.config.undecided_max {
                add(&self.shared.stats.undecided_refused, 1);
                return self.refuse_head(key, Refusal::TooManyUndecided);
            }
            let promise = match Promise::new(&self.shared, network) {
                // While the hub stops no stream begins, and who asks for one is not refused.
                Err(refusal) if self.drain.is_none() => return self.refuse_head(key, refusal),
                promise => promise.ok(),
            };
            if let Some(connection) = self.heads.get_mut(key) {
                connection.promise = promise;
            }
            self.put_off(key, work, decide);
        } else if let Some(connection) = self.heads.remove(key) {
            self.admitted(connection.socket, connection.peer, connection.bytes, admission);
        }
    }

    fn put_off(&mut self, key: HeadKey, work: Work, decide: Decide) {
        if let Some(oldest) =
            self.heads.note_deciding(key, work, decide, self.shared.config.head_buffers_max, self.now_ms)
        {
            self.refuse(oldest.socket, oldest.client, Refusal::HeadTimeout);
        }
        self.begin_deciding(work);
    }

    /// Gives the pool the admissions that wait for it, as far as it takes them.
    fn begin_deciding(&mut self, work: Work) {
        let Reactor { heads, mailbox, deciding, shared, .. } = self;
        deciding[work as usize].dispatch(shared.deciders.of(work), || {
            let (key, decide) = heads.next_undecided(work)?;
            let mailbox = Arc::clone(mailbox);
            let job: Job = Box::new(move || mailbox.post(Message::Decided(key, work, guarded(decide))));
            Some(job)
        });
    }

    fn decided(&mut self, key: HeadKey, admission: Option<Admission>) {
        if let Some(Admission::Later(work, _, decide)) = admission {
            return self.put_off(key, work, decide);
        }
        let Some(Connection { socket, peer, client, bytes, promise, .. }) = self.heads.remove(key) else { return };
        // It takes its place itself, or needs none.
        drop(promise);
        match admission {
            Some(admission) => self.admitted(socket, peer, bytes, admission),
            None => self.refuse(socket, client, Refusal::LogUnreadable),
        }
    }

    fn admitted(&mut self, socket: Transport, peer: ClientAddress, bytes: Vec<u8>, admission: Admission) {
        match admission {
            Admission::Stream(stream) if self.drain.is_some() => {
                let stats = &self.shared.stats;
                add(&stats.streams_turned_away, 1);
                if let Some(gap) = &stream.start.gap {
                    add(&stats.gaps[gap.reason.index()], 1);
                }
                if self.shared.admit.listens() {
                    let client = stream.client.unwrap_or(peer);
                    self.shared.admit.tell(&News::TurnedAway { client, head: &bytes });
                }
                self.answer_last(socket, peer, &tidewire_core::turn_away(stream));
            }
            Admission::Stream(stream) => {
                let client = stream.client.unwrap_or(peer);
                match self.shared.take_place(network(client)) {
                    Ok(()) => self.open_stream(socket, stream, client, &bytes),
                    Err(refusal) => self.refuse(socket, client, refusal),
                }
            }
            Admission::HandOver => self.hand_over(socket, peer, bytes),
            Admission::Later(..) => unreachable!("what is put off is not admitted"),
        }
    }

    fn hand_over(&mut self, mut socket: Transport, peer: ClientAddress, bytes: Vec<u8>) {
        let registry = self.poll.registry();
        let left =
            registry.deregister(&mut socket).map(|()| (self.shared.hand_over)(socket.into_socket(), bytes, peer));
        let given_back = match left {
            Ok(Ok(())) => return add(&self.shared.stats.handed_over, 1),
            Ok(Err(socket)) => {
                let mut socket = Transport::from(socket);
                registry.register(&mut socket, Token(HEAD_BIT), Interest::READABLE).map(|()| socket)
            }
            Err(error) => Err(error),
        };
        match given_back {
            Ok(socket) => self.refuse(socket, peer, Refusal::TooManyConnections),
            Err(error) => tracing::error!(%error, "failed to hand a connection over"),
        }
    }

    pub(crate) fn refuse_head(&mut self, key: HeadKey, refusal: Refusal) {
        if let Some(connection) = self.heads.remove(key) {
            self.refuse(connection.socket, connection.client, refusal);
        }
    }

    fn refuse(&mut self, socket: Transport, peer: ClientAddress, refusal: Refusal) {
        add(&self.shared.stats.refused, 1);
        if let Transport::Pipe(pipe) = &socket {
            return pipe.refuse(refusal);
        }
        let answer = self.shared.admit.refuse(refusal, peer);
        self.answer_last(socket, peer, &answer);
    }
}

/// However a shard ends, connections are not given to it any more, and its own leave room to others.
impl Drop for Reactor {
    fn drop(&mut self) {
        self.mailbox.close();
        self.forget_held();
        // Those that it had when it panicked.
        self.shared.stats.streams.fetch_sub(self.shard.len() as u64, Ordering::Relaxed);
        for network in self.networks.drain() {
            self.shared.give_back_place_of(Some(network));
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
