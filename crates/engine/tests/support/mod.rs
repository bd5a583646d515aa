//! What the tests over real sockets share: a hub with the smallest of admissions, in which a target
//! names a topic.

mod failing_log;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use failing_log::FailingLog;

use tidewire_core::Cursor;
use tidewire_engine::{
    Admission, Admit, Engine, EngineConfig, EngineHandle, EngineStats, Head, Refusal, Socket, StreamStart, Work,
};
use tidewire_log::{Clock, Data, EventLog, Filter, MemoryLog, MemoryLogConfig, NewEvent, SimDisk, Tail, Types};
use tidewire_topic::{Matcher, MatcherSet, Topic};

/// Long enough for any machine; a test that waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A clock that stands.
struct Standing;

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

struct Targets {
    log: Arc<MemoryLog<SimDisk>>,
    tail: Arc<Tail>,
    gate: Arc<Mutex<()>>,
    undecided: Arc<()>,
    seen: Arc<Seen>,
}

/// What was so whenever a stream was asked for.
#[derive(Default)]
pub(crate) struct Seen {
    handle: OnceLock<EngineHandle>,
    /// Which thread asked, and the engine's figures then.
    admissions: Mutex<Vec<(String, EngineStats)>>,
}

impl Seen {
    fn note(&self) {
        let Some(handle) = self.handle.get() else { return };
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.admissions.lock().expect("no other thread panics with it").push((thread, handle.stats()));
    }

    pub(crate) fn admissions(&self) -> Vec<(String, EngineStats)> {
        self.admissions.lock().expect("no other thread panics with it").clone()
    }
}

impl Admit for Targets {
    fn admit(&self, head: &Head<'_>) -> Admission {
        let Some(topic) = head.target.strip_prefix("/streams/") else { return Admission::HandOver };
        self.seen.note();
        if topic == "held" {
            drop(self.gate.lock());
        }
        let topics = MatcherSet::new([Matcher::parse(topic).expect("a topic")]).expect("one matcher");
        let filter = Filter { topics, types: Types::All, grants: None };
        let last_id = head.headers.iter().find(|header| header.name == "last-event-id");
        let cursor = match last_id.map(|header| std::str::from_utf8(header.value).expect("text")) {
            Some(id) => Cursor::last_id(id),
            None if topic == "old" => Cursor::Earliest,
            None => Cursor::Live,
        };
        let start = cursor.resolve(&*self.log, &self.tail, &filter).expect("memory can be read");
        let stream =
            StreamStart { head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), retry_ms: 7, filter, start, subject: None };
        if topic == "panic" {
            return Admission::Later(Work::Seeking, Box::new(|| panic!("as the test asked")));
        }
        if topic == "gated" {
            let gate = Arc::clone(&self.gate);
            let undecided = Arc::clone(&self.undecided);
            return Admission::Later(
                Work::Seeking,
                Box::new(move || {
                    drop(gate.lock());
                    drop(undecided);
                    Admission::Stream(stream)
                }),
            );
        }
        if topic == "later" {
            return Admission::Later(Work::Seeking, Box::new(move || Admission::Stream(stream)));
        }
        Admission::Stream(stream)
    }

    fn refuse(&self, refusal: Refusal, _: SocketAddr) -> Vec<u8> {
        format!("{refusal:?}").into_bytes()
    }

    fn retry_ms(&self) -> u64 {
        9
    }
}

pub(crate) struct Hub {
    pub(crate) engine: Engine,
    admit: Arc<dyn Admit>,
    pub(crate) log: Arc<MemoryLog<SimDisk>>,
    pub(crate) handed_over: Receiver<(TcpStream, Vec<u8>, SocketAddr)>,
    /// While it is locked, admissions to the topic `gated` are not decided, and a shard that admits to the topic
    /// `held` does nothing else.
    pub(crate) gate: Arc<Mutex<()>>,
    /// Held by each admission to the topic `gated` that is not decided and not dropped.
    pub(crate) undecided: Arc<()>,
    pub(crate) seen: Arc<Seen>,
    /// While it is set, what streams need of the log cannot be read.
    pub(crate) is_unreadable: Arc<AtomicBool>,
}

/// How much of what is published is kept, in bytes.
pub(crate) struct Room {
    pub(crate) log: usize,
    pub(crate) tail: usize,
}

/// Both ends of a connection that was handed over.
pub(crate) struct Elsewhere {
    pub(crate) socket: TcpStream,
    pub(crate) theirs: TcpStream,
    pub(crate) peer: SocketAddr,
}

impl Hub {
    pub(crate) fn start(config: EngineConfig) -> Hub {
        Hub::start_with(config, &Room { log: 64 << 20, tail: 1 << 20 })
    }

    pub(crate) fn start_with(config: EngineConfig, room: &Room) -> Hub {
        let kept = MemoryLogConfig { memory_bytes: room.log, ..MemoryLogConfig::default() };
        let log = Arc::new(MemoryLog::open(SimDisk::default(), &kept, Arc::new(Standing)).expect("opened"));
        let tail = Arc::new(Tail::new(room.tail));
        log.follow(tail.follower());
        let (gate, undecided, seen) = (Arc::default(), Arc::default(), Arc::<Seen>::default());
        let admit = Targets {
            log: Arc::clone(&log),
            tail: Arc::clone(&tail),
            gate: Arc::clone(&gate),
            undecided: Arc::clone(&undecided),
            seen,
        };
        let seen = Arc::clone(&admit.seen);
        let admit: Arc<dyn Admit> = Arc::new(admit);
        let (sender, handed_over) = sync_channel(16);
        let sender = Mutex::new(sender);
        let hand_over = Box::new(move |socket, bytes, peer| {
            let Socket::Tcp(socket) = socket else { panic!("nobody speaks TLS here") };
            sender.lock().expect("no other thread panics with it").send((socket, bytes, peer)).expect("it is read");
            Ok(())
        });
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = EngineConfig { listen, ..config };
        let is_unreadable = Arc::new(AtomicBool::new(false));
        let failing = FailingLog { log: Arc::clone(&log), is_unreadable: Arc::clone(&is_unreadable) };
        let engine = Engine::start(config, Arc::new(failing), tail, Arc::clone(&admit), hand_over);
        let engine = engine.expect("a free port");
        assert!(seen.handle.set(engine.handle()).is_ok(), "it is set once");
        Hub { engine, admit, log, handed_over, gate, undecided, seen, is_unreadable }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.engine.address()).expect("the hub listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket
    }

    pub(crate) fn ask(&self, target: &str) -> TcpStream {
        let mut socket = self.connect();
        write!(socket, "GET {target} HTTP/1.1\r\n\r\n").expect("the hub reads");
        socket
    }

    /// A connection that was handed over.
    pub(crate) fn elsewhere(&self) -> Elsewhere {
        let socket = self.ask("/elsewhere");
        let (theirs, _, peer) = self.handed_over.recv_timeout(DEADLINE).expect("it is handed over");
        Elsewhere { socket, theirs, peer }
    }

    /// Such a connection comes back, and asks for a stream. The shards get them in turn.
    pub(crate) fn come_back(&self, elsewhere: Elsewhere, target: &str, headers: &str) -> TcpStream {
        let last_id = headers.strip_prefix("last-event-id: ").map(|id| id.trim_end().to_owned());
        let (admit, target, peer) = (Arc::clone(&self.admit), target.to_owned(), elsewhere.peer);
        let decide = move || {
            let value = last_id.as_deref().unwrap_or_default().as_bytes();
            let header = httparse::Header { name: "last-event-id", value };
            let headers = if last_id.is_some() { &[header][..] } else { &[] };
            admit.admit(&Head { method: "GET", target: &target, version_minor: 1, headers, peer })
        };
        self.engine.handle().adopt(elsewhere.theirs, Box::new(decide), peer);
        elsewhere.socket
    }

    pub(crate) fn publish(&self, topic: &str, data: &str) {
        let topics = vec![Topic::parse(topic).expect("a topic")];
        let event = NewEvent::new(topics, &Data::Text(data.into()), 1 << 20).expect("an event");
        let (sender, receiver) = sync_channel(1);
        self.log.append(vec![event], Box::new(move |result| sender.send(result).expect("somebody waits")));
        receiver.recv_timeout(DEADLINE).expect("an answer").expect("it is appended");
    }
}

/// Reads until `end` has come, and answers all that came.
pub(crate) fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        assert_eq!(socket.read(&mut byte).expect("bytes before the deadline"), 1, "ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

pub(crate) fn read_to_end(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an end before the deadline");
    bytes
}

/// Waits until something is so.
#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}
