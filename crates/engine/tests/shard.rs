//! The shards over real sockets, with the smallest of admissions: a target names a topic.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidewire_core::{Cursor, LAST_CHUNK};
use tidewire_engine::{Admission, Admit, Engine, EngineConfig, Head, Refusal, StreamStart};
use tidewire_log::{Clock, Data, EventLog, Filter, MemoryLog, MemoryLogConfig, NewEvent, Tail, Types};
use tidewire_topic::{Matcher, MatcherSet, Topic};

/// Long enough for any machine; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A clock that stands.
struct Standing;

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

struct Targets {
    log: Arc<MemoryLog>,
    tail: Arc<Tail>,
}

impl Admit for Targets {
    fn admit(&self, head: &Head<'_>) -> Admission {
        let Some(topic) = head.target.strip_prefix("/streams/") else { return Admission::HandOver };
        let topics = MatcherSet::new([Matcher::parse(topic).expect("a topic")]).expect("one matcher");
        let filter = Filter { topics, types: Types::All, grants: None };
        let start = Cursor::Live.resolve(&*self.log, &self.tail, &filter).expect("memory can be read");
        let stream = StreamStart { head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), retry_ms: 7, filter, start };
        if topic == "later" {
            return Admission::Later(Box::new(move || Admission::Stream(stream)));
        }
        Admission::Stream(stream)
    }

    fn refuse(&self, refusal: Refusal) -> Vec<u8> {
        format!("{refusal:?}").into_bytes()
    }
}

struct Hub {
    engine: Engine,
    log: Arc<MemoryLog>,
    handed_over: Receiver<(TcpStream, Vec<u8>, SocketAddr)>,
}

impl Hub {
    fn start(config: EngineConfig) -> Hub {
        let log = Arc::new(MemoryLog::new(&MemoryLogConfig::default(), Arc::new(Standing)));
        let tail = Arc::new(Tail::new(1 << 20));
        log.follow(tail.follower());
        let admit = Arc::new(Targets { log: Arc::clone(&log), tail: Arc::clone(&tail) });
        let (sender, handed_over) = sync_channel(16);
        let sender = Mutex::new(sender);
        let hand_over = Box::new(move |socket, bytes, peer| {
            sender.lock().expect("no other thread panics with it").send((socket, bytes, peer)).expect("it is read");
        });
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = EngineConfig { listen, ..config };
        let engine = Engine::start(config, Arc::clone(&log) as Arc<dyn EventLog>, tail, admit, hand_over);
        Hub { engine: engine.expect("a free port"), log, handed_over }
    }

    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.engine.address()).expect("the hub listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        socket
    }

    fn ask(&self, target: &str) -> TcpStream {
        let mut socket = self.connect();
        write!(socket, "GET {target} HTTP/1.1\r\n\r\n").expect("the hub reads");
        socket
    }

    fn publish(&self, topic: &str, data: &str) {
        let topics = vec![Topic::parse(topic).expect("a topic")];
        let event = NewEvent::new(topics, &Data::Text(data.into()), 1 << 20).expect("an event");
        let (sender, receiver) = sync_channel(1);
        self.log.append(vec![event], Box::new(move |result| sender.send(result).expect("somebody waits")));
        receiver.recv_timeout(DEADLINE).expect("an answer").expect("it is appended");
    }
}

/// Reads until `end` has come, and answers all that came.
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) {
        assert_eq!(socket.read(&mut byte).expect("bytes before the deadline"), 1, "ended after {text:?}");
        text.push(char::from(byte[0]));
    }
    text
}

fn read_to_end(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an end before the deadline");
    bytes
}

#[test]
fn a_stream_begins_with_its_head_retry_and_a_checkpoint_and_then_has_its_events() {
    let hub = Hub::start(EngineConfig::default());
    for target in ["/streams/a", "/streams/later"] {
        let mut socket = hub.ask(target);
        let first = read_until(&mut socket, "data: \n\n\r\n");
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n\r\n"), "{first:?}");
        let retry = first.find("retry: 7\n\n").expect("retry");
        assert!(retry < first.find("event: tidewire.checkpoint\n").expect("a checkpoint"));
        hub.publish("other", "not mine");
        hub.publish(target.trim_start_matches("/streams/"), "mine");
        let event = read_until(&mut socket, "\n\n\r\n");
        assert!(event.contains("data: mine\n"), "{event:?}");
    }
}

#[test]
fn a_silent_stream_has_heartbeats_and_a_checkpoint_once_its_place_has_moved() {
    let hub = Hub::start(EngineConfig { heartbeat: Duration::from_millis(400), ..EngineConfig::default() });
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    assert_eq!(read_until(&mut socket, ":\n\r\n"), "2\r\n:\n\r\n");
    hub.publish("other", "not mine");
    let told = read_until(&mut socket, "data: \n\n\r\n");
    assert!(told.contains("id: #1000-1\nevent: tidewire.checkpoint\n"), "{told:?}");
}

#[test]
fn stopping_ends_streams_with_what_is_owed_and_their_last_chunk() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    hub.publish("a", "last words");
    hub.engine.stop();
    let rest = read_to_end(socket);
    assert!(rest.ends_with(LAST_CHUNK));
    assert!(String::from_utf8_lossy(&rest).contains("data: last words\n"));
}

#[test]
fn what_is_no_stream_is_handed_over_whole_and_may_come_back() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.connect();
    let first = "POST /x HTTP/1.1\r\ncontent-length: 4\r\n\r\nbody";
    socket.write_all(first.as_bytes()).expect("the hub reads");
    let (theirs, bytes, peer) = hub.handed_over.recv_timeout(DEADLINE).expect("it is handed over");
    assert_eq!(String::from_utf8_lossy(&bytes), first);
    assert_eq!(peer, socket.local_addr().expect("an address"));
    hub.engine.handle().adopt(theirs, b"GET /streams/a HTTP/1.1\r\n\r\n".to_vec(), peer);
    read_until(&mut socket, "data: \n\n\r\n");
    hub.publish("a", "back again");
    read_until(&mut socket, "data: back again\n\n\r\n");
    let stats = hub.engine.handle().stats();
    assert_eq!((stats.handed_over, stats.adopted, stats.streams), (1, 1, 1));
}

#[test]
fn a_client_that_leaves_is_forgotten() {
    let hub = Hub::start(EngineConfig::default());
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    socket.shutdown(Shutdown::Both).expect("it was open");
    let mut other = hub.ask("/streams/b");
    read_until(&mut other, "data: \n\n\r\n");
    let begun = std::iter::repeat_with(|| hub.engine.handle().stats());
    let settled = begun.take_while(|stats| stats.streams != 1).take(10_000_000).count();
    assert!(settled < 10_000_000, "the stream of a client that left is still counted");
}

#[test]
fn at_the_limit_of_streams_one_more_is_refused() {
    let hub = Hub::start(EngineConfig { max_streams: 2, ..EngineConfig::default() });
    let mut kept: Vec<TcpStream> = (0..2).map(|_| hub.ask("/streams/a")).collect();
    for socket in &mut kept {
        read_until(socket, "data: \n\n\r\n");
    }
    assert_eq!(read_to_end(hub.ask("/streams/a")), b"TooManyStreams");
}

#[test]
fn a_head_that_does_not_end_is_refused_in_time_and_in_size() {
    let head_timeout = Duration::from_millis(300);
    let hub = Hub::start(EngineConfig { head_timeout, head_bytes_max: 200, ..EngineConfig::default() });
    let mut slow = hub.connect();
    slow.write_all(b"GET /streams/a HTTP/1.1\r\n").expect("the hub reads");
    assert_eq!(read_to_end(slow), b"HeadTimeout");
    let silent = hub.connect();
    assert_eq!(read_to_end(silent), b"", "who says nothing is told nothing");
    let head = |length: usize| format!("GET /streams/{} HTTP/1.1\r\n\r\n", "a".repeat(length));
    let longest = 200 - head(0).len();
    let mut fits = hub.connect();
    fits.write_all(head(longest).as_bytes()).expect("the hub reads");
    read_until(&mut fits, "data: \n\n\r\n");
    let mut large = hub.connect();
    large.write_all(head(longest + 1).as_bytes()).expect("the hub reads");
    assert!(read_to_end(large).starts_with(b"HeadTooLarge"));
}

#[test]
fn with_all_buffers_taken_the_oldest_unfinished_head_is_refused() {
    let hub = Hub::start(EngineConfig { head_buffers_max: 1, ..EngineConfig::default() });
    let mut oldest = hub.connect();
    oldest.write_all(b"GET /stre").expect("the hub reads");
    let mut witness = hub.ask("/streams/a");
    read_until(&mut witness, "data: \n\n\r\n");
    let mut newest = hub.connect();
    newest.write_all(b"GET /streams/a HT").expect("the hub reads");
    assert_eq!(read_to_end(oldest), b"HeadTimeout");
    newest.write_all(b"TP/1.1\r\n\r\n").expect("the hub reads");
    read_until(&mut newest, "data: \n\n\r\n");
}
