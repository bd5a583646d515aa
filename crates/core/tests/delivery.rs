//! A shard against a naive oracle: whatever subscribers, sockets, heartbeats and reads from the log do,
//! each subscriber ends up with exactly the events of its filter after its place, once and in order,
//! except where a gap was told, and told why: retention took it, or it was erased.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, mpsc};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use tidewire_core::{CatchUp, CaughtUp, Cursor, Heartbeat, LAST_CHUNK, Limits, Owed, Shard, SlotKey, StreamStart};
use tidewire_log::{
    Clock, Data, Erase, EventLog, EventType, Filter, HubId, MemoryLog, MemoryLogConfig, NewEvent, SimDisk, Tail, Types,
};
use tidewire_sse::{Decoder, Item};
use tidewire_topic::{BaseUrl, Matcher, MatcherSet, Pattern, Template, Topic};

const TOPICS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TYPES: [&str; 2] = ["message", "tick"];
const LIMITS: Limits = Limits { heartbeat_ms: 20_000, stall_ms: 120_000 };

/// A clock that stands.
struct StandingClock;

impl Clock for StandingClock {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

/// An event as the oracle knows it.
struct Published {
    id: HubId,
    topics: Vec<&'static str>,
    event_type: &'static str,
    private: bool,
    data: String,
}

/// A subscriber's machine: what it asked for and what it has seen.
struct Client {
    filter: Filter,
    decoder: Decoder,
    dechunker: Dechunker,
    /// Everything matching above this is owed.
    from: HubId,
    seen: Vec<(HubId, String)>,
    /// The gaps: how many events had been seen, why, and the id.
    gaps: Vec<(usize, String, HubId)>,
    /// Why the last gap of this connection was told, if nothing came since.
    told: Option<String>,
    last_id: Option<HubId>,
}

/// Takes chunked framing apart, however it is cut.
#[derive(Default)]
struct Dechunker {
    buffer: Vec<u8>,
    head_seen: bool,
}

impl Dechunker {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.buffer.extend_from_slice(bytes);
        let mut out = Vec::new();
        if !self.head_seen {
            let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else { return out };
            self.buffer.drain(..end + 4);
            self.head_seen = true;
        }
        let mut start = 0;
        while let Some(line) = self.buffer[start..].windows(2).position(|w| w == b"\r\n") {
            let text = std::str::from_utf8(&self.buffer[start..start + line]).expect("a chunk length");
            let length = usize::from_str_radix(text, 16).expect("a chunk length");
            let chunk = start + line + 2;
            if self.buffer.len() < chunk + length + 2 {
                break;
            }
            assert_ne!(length, 0, "a stream ended by itself");
            out.extend_from_slice(&self.buffer[chunk..chunk + length]);
            assert_eq!(&self.buffer[chunk + length..chunk + length + 2], b"\r\n");
            start = chunk + length + 2;
        }
        self.buffer.drain(..start);
        out
    }
}

impl Client {
    fn receive(&mut self, bytes: &[u8], erased: &HashSet<HubId>) {
        let sse = self.dechunker.feed(bytes);
        self.decoder.feed(&sse);
        while let Some(item) = self.decoder.next() {
            let Item::Event(message) = item.expect("what the hub writes decodes") else { continue };
            let id: HubId = message.id.parse().expect("every event has a hub id");
            match message.event_type.as_str() {
                "tidewire.checkpoint" => self.told = None,
                "tidewire.gap" => {
                    let reason = message.data.rsplit('"').nth(1).expect("the reason comes last").to_owned();
                    assert_ne!((&*reason, self.told.as_deref()), ("erased", Some("erased")), "one gap for neighbours");
                    self.told = Some(reason.clone());
                    self.gaps.push((self.seen.len(), reason, id));
                }
                _ => {
                    assert!(!erased.contains(&id), "{id} was erased, and was shown");
                    self.told = None;
                    self.seen.push((id, message.data));
                }
            }
            assert!(self.last_id.is_none_or(|last| last <= id), "ids went back: {:?} then {id}", self.last_id);
            self.last_id = Some(id);
        }
    }
}

struct World {
    rng: SmallRng,
    log: MemoryLog<SimDisk>,
    tail: Arc<Tail>,
    shard: Shard<usize>,
    clients: Vec<Client>,
    connected: Vec<Option<SlotKey>>,
    jobs: VecDeque<CatchUp>,
    published: Vec<Published>,
    /// How many erasures there may still be, and what was erased.
    erasures: usize,
    erased: HashSet<HubId>,
    now_ms: u64,
    gaps: u64,
    catch_ups: u64,
}

impl World {
    fn new(seed: u64, memory_bytes: usize, tail_bytes: usize) -> World {
        let log = MemoryLog::open(
            SimDisk::default(),
            &MemoryLogConfig { memory_bytes, ..MemoryLogConfig::default() },
            Arc::new(StandingClock),
        )
        .expect("opened");
        let tail = Arc::new(Tail::new(tail_bytes));
        log.follow(tail.follower());
        World {
            rng: SmallRng::seed_from_u64(seed),
            log,
            tail,
            shard: Shard::new(LIMITS),
            clients: Vec::new(),
            connected: Vec::new(),
            jobs: VecDeque::new(),
            published: Vec::new(),
            erasures: 0,
            erased: HashSet::new(),
            now_ms: 0,
            gaps: 0,
            catch_ups: 0,
        }
    }

    fn publish(&mut self) {
        let mut events = Vec::new();
        let mut drafts = Vec::new();
        for _ in 0..self.rng.random_range(1..5) {
            let mut topics: Vec<&'static str> = TOPICS.into_iter().filter(|_| self.rng.random_ratio(1, 4)).collect();
            if topics.is_empty() {
                topics.push(TOPICS[self.rng.random_range(0..TOPICS.len())]);
            }
            let event_type = TYPES[self.rng.random_range(0..TYPES.len())];
            let private = self.rng.random_ratio(1, 4);
            let length = match self.rng.random_range(0..20) {
                0 => self.rng.random_range(60_000..200_000),
                1..6 => self.rng.random_range(1_000..9_000),
                _ => self.rng.random_range(0..50),
            };
            let data: String = (0..length).map(|n| if n % 61 == 60 { '\n' } else { 'x' }).collect();
            let parsed = topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect();
            let mut event = NewEvent::new(parsed, &Data::Text(data.clone()), 1 << 20).expect("an event");
            if event_type != "message" {
                event = event.with_type(EventType::parse(event_type).expect("a type"));
            }
            events.push(if private { event.private() } else { event });
            drafts.push((topics, event_type, private, data));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        self.log.append(events, Box::new(move |result| sender.send(result).expect("somebody waits")));
        let ids = receiver.recv().expect("an answer").expect("it is appended");
        for (id, (topics, event_type, private, data)) in ids.into_iter().zip(drafts) {
            self.published.push(Published { id, topics, event_type, private, data });
        }
    }

    fn erase(&mut self) {
        if self.published.is_empty() || self.erasures == 0 {
            return;
        }
        self.erasures -= 1;
        if self.rng.random_ratio(1, 8) {
            let topic = TOPICS[self.rng.random_range(0..TOPICS.len())];
            self.log.erase(&Erase::Topic(Topic::parse(topic).expect("a topic"))).expect("erased");
            let of_it = self.published.iter().filter(|event| event.topics.contains(&topic));
            self.erased.extend(of_it.map(|event| event.id));
        } else {
            // Mostly what some have not been given yet.
            let back = self.rng.random_range(0..self.published.len().min(20));
            let id = self.published[self.published.len() - 1 - back].id;
            let is_new = self.erased.insert(id);
            assert_eq!(self.log.erase(&Erase::Event(id)).is_ok(), is_new);
        }
    }

    fn random_filter(&mut self) -> Filter {
        let set = |rng: &mut SmallRng| {
            if rng.random_ratio(1, 4) {
                return MatcherSet::any();
            }
            let count = rng.random_range(1..4);
            let base = BaseUrl::parse("https://hub.example").expect("a URL");
            let matchers = (0..count).map(|_| {
                let text = TOPICS[rng.random_range(0..TOPICS.len())];
                match rng.random_range(0..6) {
                    0 => Matcher::Pattern(Pattern::parse(&format!("/{text}"), &base).expect("a pattern")),
                    1 => Matcher::Pattern(Pattern::parse("/:any", &base).expect("a pattern")),
                    2 => Matcher::Template(Template::parse(&format!("{text}{{x}}")).expect("a template")),
                    _ => Matcher::Exact(Topic::parse(text).expect("a topic")),
                }
            });
            MatcherSet::new(matchers.collect::<Vec<_>>()).expect("a set")
        };
        let topics = set(&mut self.rng);
        let grants = self.rng.random_ratio(1, 2).then(|| set(&mut self.rng));
        let types = if self.rng.random_ratio(1, 4) { Types::new(vec!["tick".into()]) } else { Types::All };
        Filter { topics, types, grants }
    }

    fn subscribe(&mut self) {
        let filter = self.random_filter();
        let cursor = match self.rng.random_range(0..4) {
            0 => Cursor::Live,
            1 => Cursor::Earliest,
            2 => Cursor::Last(self.rng.random_range(0..20)),
            _ if self.published.is_empty() => Cursor::Malformed("x".into()),
            _ => Cursor::After(self.published[self.rng.random_range(0..self.published.len())].id),
        };
        let client = Client {
            filter,
            decoder: Decoder::new(tidewire_sse::Limits::default()),
            dechunker: Dechunker::default(),
            from: HubId::ZERO,
            seen: Vec::new(),
            gaps: Vec::new(),
            told: None,
            last_id: None,
        };
        self.clients.push(client);
        self.connected.push(None);
        let place = self.connect(self.clients.len() - 1, &cursor);
        let client = self.clients.last_mut().expect("it was pushed");
        client.from = place;
    }

    fn connect(&mut self, number: usize, cursor: &Cursor) -> HubId {
        let client = &mut self.clients[number];
        let start = cursor.resolve(&self.log, &self.tail, &client.filter).expect("memory can be read");
        self.gaps += u64::from(start.gap.is_some());
        let place = start.place;
        client.told = None;
        client.dechunker = Dechunker::default();
        client.decoder = Decoder::new(tidewire_sse::Limits::default());
        let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let stream =
            StreamStart { head, retry_ms: 1000, filter: client.filter.clone(), start, subject: None, client: None };
        self.connected[number] = Some(self.shard.join(number, stream, &self.tail, self.now_ms));
        place
    }

    fn reconnect(&mut self, number: usize) {
        if let Some(key) = self.connected[number].take() {
            assert_eq!(self.shard.leave(key), Some(number));
        }
        let cursor = match self.clients[number].last_id {
            Some(id) => Cursor::last_id(&id.to_string()),
            None => Cursor::After(self.clients[number].from),
        };
        self.connect(number, &cursor);
    }

    fn visit(&mut self, key: SlotKey, takes: impl FnOnce(&mut SmallRng, usize) -> usize) {
        let (written, number, bytes) = match self.shard.owed(key, &self.tail) {
            Owed::Nothing => {
                // Unless a read is under way it has everything, and what is hidden from here on is another gap.
                if self.jobs.iter().all(|job| job.key() != key)
                    && let Some(number) = self.connected.iter().position(|connected| *connected == Some(key))
                {
                    self.clients[number].told = None;
                }
                return;
            }
            Owed::Write(bytes, number) => {
                let written = takes(&mut self.rng, bytes.len());
                (written, *number, bytes[..written].to_vec())
            }
            Owed::CatchUp(job) => return self.jobs.push_back(job),
            Owed::End(_) => panic!("nobody was ended"),
        };
        self.clients[number].receive(&bytes, &self.erased);
        self.shard.wrote(key, written, self.now_ms);
    }

    fn torn(&mut self, key: SlotKey) {
        let number = *self.shard.transport(key).expect("it is there");
        self.reconnect(number);
    }

    fn run_job(&mut self, takes: impl FnOnce(&mut SmallRng, usize) -> usize) {
        let Some(job) = self.jobs.pop_front() else { return };
        self.catch_ups += 1;
        let key = job.key();
        let read = job.read(&self.log).expect("memory can be read");
        let (written, number, bytes) = match self.shard.caught_up(read, &self.tail) {
            CaughtUp::Write(bytes, number) => {
                let written = takes(&mut self.rng, bytes.len());
                (written, *number, bytes[..written].to_vec())
            }
            CaughtUp::Torn => return self.torn(key),
            CaughtUp::Nothing => return,
        };
        self.clients[number].receive(&bytes, &self.erased);
        self.shard.wrote(key, written, self.now_ms);
    }

    fn round(&mut self) {
        self.shard.observe(&self.tail);
        self.shard.begin_round();
        while let Some(key) = self.shard.next_visit() {
            if self.rng.random_ratio(1, 10) {
                self.publish();
            }
            if self.rng.random_ratio(1, 20) {
                self.erase();
            }
            self.visit(key, some);
        }
    }

    fn heartbeats(&mut self) {
        self.now_ms += self.rng.random_range(1_000..15_000);
        let mut due = Vec::new();
        for slice in 0..4 {
            self.shard.look(slice, 4, self.now_ms, &mut due);
        }
        for heartbeat in due {
            match heartbeat {
                Heartbeat::Visit(key) => self.visit(key, some),
                Heartbeat::Stalled(key) => self.torn(key),
            }
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..13) {
            0..3 => self.publish(),
            3 if self.clients.len() < 30 => self.subscribe(),
            4..7 => self.round(),
            7 => self.heartbeats(),
            8 | 9 => self.run_job(some),
            12 => self.erase(),
            10 if !self.clients.is_empty() => {
                let number = self.rng.random_range(0..self.clients.len());
                match self.connected[number] {
                    Some(key) if self.rng.random_ratio(2, 3) => self.shard.writable(key),
                    _ => self.reconnect(number),
                }
            }
            _ => {}
        }
    }

    /// Every socket takes everything until nothing is owed any more.
    fn settle(&mut self) {
        for number in 0..self.clients.len() {
            if let Some(key) = self.connected[number] {
                self.shard.writable(key);
            }
        }
        while self.shard.has_work() || self.shard.has_news(&self.tail) || !self.jobs.is_empty() {
            self.run_job(|_, all| all);
            self.shard.observe(&self.tail);
            self.shard.begin_round();
            while let Some(key) = self.shard.next_visit() {
                self.visit(key, |_, all| all);
            }
        }
    }

    fn judge(&self) {
        for (number, client) in self.clients.iter().enumerate() {
            let owed: Vec<&Published> = self
                .published
                .iter()
                .filter(|e| e.id > client.from)
                .filter(|e| client.filter.admits(e.topics.iter().copied(), e.event_type, e.private))
                .collect();
            let mut seen = 0;
            let mut erased_before = HashSet::new();
            for event in owed {
                let is_erased = self.erased.contains(&event.id);
                if client.seen.get(seen).is_some_and(|(id, _)| *id == event.id) {
                    assert!(client.seen[seen].1 == event.data, "client {number}: wrong data");
                    seen += 1;
                    continue;
                }
                if is_erased {
                    erased_before.insert(seen);
                }
                // Told between the event that precedes it and the one that follows.
                let is_told = client.gaps.iter().any(|(at, reason, id)| match &**reason {
                    "erased" => is_erased && *at == seen,
                    _ => event.id <= *id,
                });
                assert!(is_told, "client {number} lost {}, told {:?}", event.id, client.gaps);
            }
            assert_eq!(client.seen.len(), seen, "client {number} saw what it was not owed, or twice");
            for (at, reason, id) in &client.gaps {
                let is_true = reason != "erased" || erased_before.contains(at);
                assert!(is_true, "client {number} was told of nothing at {id}");
            }
        }
    }
}

/// A socket that takes nothing, some or all.
fn some(rng: &mut SmallRng, all: usize) -> usize {
    match rng.random_range(0..4) {
        0 => 0,
        1 => rng.random_range(0..=all),
        _ => all,
    }
}

fn run(seed: u64, memory_bytes: usize, tail_bytes: usize) -> World {
    run_erasing(seed, memory_bytes, tail_bytes, 0)
}

fn run_erasing(seed: u64, memory_bytes: usize, tail_bytes: usize, erasures: usize) -> World {
    eprintln!("seed {seed}");
    let mut world = World::new(seed, memory_bytes, tail_bytes);
    world.erasures = erasures;
    for _ in 0..600 {
        world.step();
    }
    world.settle();
    world.judge();
    world
}

fn seeds() -> impl Iterator<Item = u64> {
    let first = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = first.map_or_else(|| (rand::rng().next_u64(), 12), |seed| (seed, 1));
    (0..count).map(move |n| first.wrapping_add(n))
}

#[test]
fn from_the_tail_everyone_gets_exactly_theirs() {
    for seed in seeds() {
        let world = run(seed, 1 << 30, 1 << 30);
        assert_eq!(world.catch_ups, 0, "everything was in the tail");
    }
}

#[test]
fn a_small_tail_sends_slow_readers_to_the_log_and_nothing_is_lost() {
    let catch_ups: u64 = seeds().map(|seed| run(seed, 1 << 30, 1).catch_ups).sum();
    assert!(catch_ups > 0, "no reader fell behind the tail");
}

#[test]
fn what_retention_takes_from_a_reader_is_said() {
    let gaps: u64 =
        seeds().map(|seed| run(seed, 1 << 20, 1).shard.gaps_told()[tidewire_core::GapReason::Expired.index()]).sum();
    assert!(gaps > 0, "no reader fell behind the log");
}

#[test]
fn what_is_erased_is_shown_to_nobody_and_told_in_its_place_to_those_who_might_have_read_it() {
    let mut told = [0; 2];
    for seed in seeds().take(4) {
        for (n, tail_bytes) in [1 << 30, 1].into_iter().enumerate() {
            let world = run_erasing(seed, 1 << 30, tail_bytes, 60);
            told[n] += world.shard.gaps_told()[tidewire_core::GapReason::Erased.index()];
        }
    }
    assert!(told.iter().all(|&told| told > 0), "{told:?}");
}

#[test]
fn the_last_chunk_is_empty() {
    assert_eq!(Dechunker::default().feed(LAST_CHUNK), b"");
}
