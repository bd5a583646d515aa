//! Ten thousand users, each with a pattern of its own: what they weigh, that each gets its own, and that nobody else
//! waits while they come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

const USERS: usize = 10_000;
/// The weight is the slope from here: by then tables and scratch have their size.
const USERS_FIRST: usize = 2_000;
/// Anonymous memory for each more, in bytes. The parser's own regular expressions took 73 KB a pattern.
const USER_BYTES_MAX: u64 = 1_024;

/// How often the ticker ticks.
const TICK: Duration = Duration::from_millis(20);
/// So many ticks without users show what this machine does by itself.
const QUIET_TICKS: usize = 150;
/// So many users come at once: the test's own work for them must not be what keeps the ticks waiting.
const AT_ONCE: usize = 100;
/// How much longer a tick may take while users come, in microseconds.
const STALL_MAX: u64 = 100_000;
/// A stall that is the hub's is there each time.
const TRIES: usize = 3;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(120);

/// The tests run one after the other: each has ten thousand sockets.
static ALONE: Mutex<()> = Mutex::new(());

/// Asks for a stream.
fn ask(hub: &Hub, user: usize) -> TcpStream {
    let mut socket = TcpStream::connect(hub.address()).expect("the hub listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let target = format!("/api/v1/events?pattern=/users/u{user}/*");
    write!(socket, "GET {target} HTTP/1.1\r\nhost: hub\r\n\r\n").expect("the hub reads");
    socket
}

/// Opens a stream and reads its first bytes, up to the checkpoint.
fn open(hub: &Hub, user: usize) -> TcpStream {
    let mut socket = ask(hub, user);
    read_begin(&mut socket);
    socket
}

fn read_begin(socket: &mut TcpStream) {
    read_until(socket, "event: tidewire.checkpoint\ndata: \n\n\r\n");
}

/// Reads what comes until it has `end`.
#[track_caller]
fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    loop {
        let mut buffer = [0; 1_024];
        let bytes = socket.read(&mut buffer).expect("the hub goes on");
        assert!(bytes > 0, "the stream ended: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&buffer[..bytes]);
        let text = String::from_utf8_lossy(&read);
        if text.contains(end) {
            return text.into_owned();
        }
    }
}

/// A topic that ticks, and one who reads it.
#[derive(Default)]
struct Ticker {
    ticks: AtomicUsize,
    is_over: AtomicBool,
}

impl Ticker {
    /// Publishes ticks until it is over. Answers when each was committed, in microseconds.
    fn publish(&self, address: SocketAddr, clock: Clock) -> Vec<u64> {
        let mut http = Http::connect(address).expect("the hub listens");
        let mut publish = |data: &str| {
            let body = json!({"topic": "ticker", "data": data}).to_string();
            let json = [("content-type", "application/json")];
            let answer = http.request("POST", "/api/v1/events", &json, body.as_bytes()).expect("the hub answers");
            assert_eq!(answer.status, 200);
            clock.now().0
        };
        let mut committed = Vec::new();
        while !self.is_over.load(Ordering::SeqCst) {
            committed.push(publish("tick"));
            self.ticks.fetch_add(1, Ordering::SeqCst);
            std::thread::park_timeout(TICK);
        }
        publish("over");
        committed
    }

    /// How long the longest of the ticks was under way, from commit to its reader, while something is done, in
    /// microseconds.
    fn longest_while(hub: &Hub, clock: Clock, doing: impl FnOnce(&AtomicUsize)) -> u64 {
        let ticker = Ticker::default();
        let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=ticker", &[]).expect("a stream");
        stream.event().expect("it begins").expect("it begins");
        let received = move || {
            let seen = std::iter::repeat_with(|| (stream.published().data, clock.now().0));
            seen.take_while(|(data, _)| data == "tick").map(|(_, at)| at).collect::<Vec<u64>>()
        };
        let (committed, received) = std::thread::scope(|scope| {
            let committed = scope.spawn(|| ticker.publish(hub.address(), clock));
            let received = scope.spawn(received);
            doing(&ticker.ticks);
            ticker.is_over.store(true, Ordering::SeqCst);
            (committed.join().expect("every tick is taken"), received.join().expect("the stream goes on"))
        });
        assert_eq!(committed.len(), received.len());
        let delays = committed.iter().zip(&received).map(|(committed, received)| received.saturating_sub(*committed));
        delays.max().expect("it ticked")
    }
}

/// What the hub has in memory that is of no file, in bytes.
fn anonymous_bytes(hub: &Hub) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.process())).expect("a process has one");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1_024
}

#[test]
fn ten_thousand_users_with_patterns_of_their_own_weigh_little_and_get_their_own() {
    let _alone = ALONE.lock();
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_HEARTBEAT", "10min"), ("TIDEWIRE_STALL_TIMEOUT", "1h")]);
    let mut streams: Vec<TcpStream> = (0..USERS_FIRST).map(|user| open(&hub, user)).collect();
    let before = anonymous_bytes(&hub);
    streams.extend((USERS_FIRST..USERS).map(|user| open(&hub, user)));
    let more = anonymous_bytes(&hub).saturating_sub(before);
    let each = more / (USERS - USERS_FIRST) as u64;
    println!("{each} bytes for each user");
    assert!(each <= USER_BYTES_MAX, "each user takes {each} bytes");

    let events: Value =
        (0..USERS).map(|user| json!({"topic": format!("/users/u{user}/inbox"), "data": format!("<{user}>")})).collect();
    let events = events.as_array().expect("an array").chunks(1_000);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    for events in events {
        let body = Value::from(events).to_string();
        let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.expect("the hub answers").status, 200);
    }
    for (user, socket) in streams.iter_mut().enumerate() {
        let shown = read_until(socket, "data: ");
        assert!(shown.contains(&format!("data: <{user}>\n")), "{user} is shown {shown}");
        assert_eq!(shown.matches("data: ").count(), 1, "{user} is shown {shown}");
    }
}

/// How long the longest tick took without users, and while all of them came.
fn quiet_and_crowded() -> (u64, u64) {
    let settings = [("TIDEWIRE_DURABILITY", "os"), ("TIDEWIRE_HEARTBEAT", "10min")];
    let (hub, clock) = (Hub::start_with(BINARY, &["--dev"], &settings), Clock::start());
    let quiet = Ticker::longest_while(&hub, clock, |ticks| {
        wait_until("it ticks", WITHIN, || ticks.load(Ordering::SeqCst) >= QUIET_TICKS);
    });
    let crowded = Ticker::longest_while(&hub, clock, |ticks| {
        let mut users: Vec<TcpStream> = Vec::new();
        while users.len() < USERS {
            users.extend((users.len()..).take(AT_ONCE).map(|user| ask(&hub, user)));
            users.iter_mut().rev().take(AT_ONCE).for_each(read_begin);
        }
        println!("{} ticks while they came", ticks.load(Ordering::SeqCst));
    });
    println!("a tick took at most {quiet} µs, and {crowded} µs while {USERS} users came");
    (quiet, crowded)
}

#[test]
fn nobody_waits_while_ten_thousand_users_come_with_patterns_of_their_own() {
    let _alone = ALONE.lock();
    let mut tries = (0..TRIES).map(|_| quiet_and_crowded());
    assert!(tries.any(|(quiet, crowded)| crowded <= quiet + STALL_MAX), "ticks waited {TRIES} times");
}
