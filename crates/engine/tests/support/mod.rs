//! What the tests over real sockets share: a hub with the smallest of admissions, in which a target
//! names a topic.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_core::Cursor;
use tidewire_engine::{Admission, Admit, Engine, EngineConfig, Head, Refusal, StreamStart};
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
}

impl Admit for Targets {
    fn admit(&self, head: &Head<'_>) -> Admission {
        let Some(topic) = head.target.strip_prefix("/streams/") else { return Admission::HandOver };
        let topics = MatcherSet::new([Matcher::parse(topic).expect("a topic")]).expect("one matcher");
        let filter = Filter { topics, types: Types::All, grants: None };
        let cursor = if topic == "old" { Cursor::Earliest } else { Cursor::Live };
        let start = cursor.resolve(&*self.log, &self.tail, &filter).expect("memory can be read");
        let stream = StreamStart { head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), retry_ms: 7, filter, start };
        if topic == "panic" {
            return Admission::Later(Box::new(|| panic!("as the test asked")));
        }
        if topic == "gated" {
            let gate = Arc::clone(&self.gate);
            return Admission::Later(Box::new(move || {
                drop(gate.lock());
                Admission::Stream(stream)
            }));
        }
        if topic == "later" {
            return Admission::Later(Box::new(move || Admission::Stream(stream)));
        }
        Admission::Stream(stream)
    }

    fn refuse(&self, refusal: Refusal) -> Vec<u8> {
        format!("{refusal:?}").into_bytes()
    }
}

pub(crate) struct Hub {
    pub(crate) engine: Engine,
    pub(crate) log: Arc<MemoryLog<SimDisk>>,
    pub(crate) handed_over: Receiver<(TcpStream, Vec<u8>, SocketAddr)>,
    /// While it is locked, admissions to the topic `gated` are not decided.
    pub(crate) gate: Arc<Mutex<()>>,
}

impl Hub {
    pub(crate) fn start(config: EngineConfig) -> Hub {
        let log = Arc::new(
            MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened"),
        );
        let tail = Arc::new(Tail::new(1 << 20));
        log.follow(tail.follower());
        let gate = Arc::default();
        let admit = Arc::new(Targets { log: Arc::clone(&log), tail: Arc::clone(&tail), gate: Arc::clone(&gate) });
        let (sender, handed_over) = sync_channel(16);
        let sender = Mutex::new(sender);
        let hand_over = Box::new(move |socket, bytes, peer| {
            sender.lock().expect("no other thread panics with it").send((socket, bytes, peer)).expect("it is read");
            Ok(())
        });
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = EngineConfig { listen, ..config };
        let engine = Engine::start(config, Arc::clone(&log) as Arc<dyn EventLog>, tail, admit, hand_over);
        Hub { engine: engine.expect("a free port"), log, handed_over, gate }
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
