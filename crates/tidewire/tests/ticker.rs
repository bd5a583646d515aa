//! A reader on a good connection, while hundreds of others do everything wrong: it is no later than without them.

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How often the ticker publishes.
const TICK: Duration = Duration::from_millis(20);
/// Ticks in one run.
const TICKS: usize = 200;
/// How much later the latest tick may be than the latest of an undisturbed run.
const MORE_MAX: Duration = Duration::from_millis(100);
const TRIES: usize = 3;
/// So many each: those who say nothing, who send a byte now and then, who do not read.
const IDLERS: usize = 150;
const THREADS: usize = 4;

/// Clients that misbehave until this is dropped.
struct Disturbance {
    is_over: Arc<AtomicBool>,
    /// What was sent that is wrong, one after the other.
    sent: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Disturbance {
    fn begin(address: SocketAddr) -> Disturbance {
        let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut disturbance = Disturbance { is_over, sent, threads: Vec::new() };
        disturbance.repeat(idle(address));
        for thread in 0..THREADS {
            disturbance.repeat(ask_wrongly(address, thread));
        }
        disturbance
    }

    fn repeat(&mut self, mut one: impl FnMut() -> usize + Send + 'static) {
        let (is_over, sent) = (Arc::clone(&self.is_over), Arc::clone(&self.sent));
        self.threads.push(std::thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                sent.fetch_add(one(), Ordering::SeqCst);
                std::thread::park_timeout(Duration::from_millis(2));
            }
        }));
    }

    fn end(self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        self.sent.load(Ordering::SeqCst)
    }
}

/// Some say nothing, some send a head byte by byte, some ask for all events and never read.
fn idle(address: SocketAddr) -> impl FnMut() -> usize + Send + 'static {
    let connect = || Http::connect(address).expect("the hub accepts");
    let _silent: Vec<Http> = (0..IDLERS).map(|_| connect()).collect();
    let stalled = |_| EventStream::open(address, "/api/v1/events?topic=*&from=earliest", &[]).expect("a stream");
    let stalled: Vec<EventStream> = (0..IDLERS).map(stalled).collect();
    let mut slow: Vec<(Http, usize)> = (0..IDLERS).map(|_| (connect(), 0)).collect();
    let head = b"GET /api/v1/events?topic=ticks HTTP/1.1\r\nhost: hub\r\nx-and-so-on: ";
    move || {
        let _still_there = (&_silent, &stalled);
        for (http, sent) in &mut slow {
            let byte = *head.get(*sent).unwrap_or(&b'x');
            *sent += 1;
            if http.send_raw(&[byte]).is_err() {
                (*http, *sent) = (Http::connect(address).expect("the hub accepts"), 0);
            }
        }
        IDLERS
    }
}

/// What is no request, or too much of one; each on a connection of its own, as a first or a second request.
fn ask_wrongly(address: SocketAddr, thread: usize) -> impl FnMut() -> usize + Send + 'static {
    let post = |fields: &str, body: &str| {
        format!("POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n{fields}\r\n{body}")
    };
    let large = json!({"topic": "large", "data": "x".repeat(20_000)}).to_string();
    let wrong = [
        "GET /\r\n".to_owned(),
        "\x16\x03\x01\x02\0".to_owned(),
        "CONNECT hub:443 HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(),
        "GET http://hub/api/v1/events?topic=ticks HTTP/1.0\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(1 << 20)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000)),
        post("content-length: 5\r\ncontent-length: 6\r\n", "abcdef"),
        post("content-length: 1000\r\n", "{"),
        post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "zz\r\n"),
        post("transfer-encoding: chunked\r\n", "zz\r\n"),
        "GET /api/v1/topics HTTP/1.1\r\nhost: hub\r\n\r\n".repeat(50),
        // In order itself, and more than those take who do not read.
        post(&format!("content-length: {}\r\n", large.len()), &large),
    ];
    let mut next = thread;
    move || {
        let bytes = &wrong[next % wrong.len()];
        let mut http = Http::connect(address).expect("the hub accepts");
        if next / wrong.len() % 2 == 1 {
            http.send("GET", "/api/v1/topics", &[], b"").expect("the hub reads");
        }
        // The hub may have refused it before it has all of it, and nobody wants to know.
        let _ = http.send_raw(bytes.as_bytes()).and_then(|()| http.socket().shutdown(Shutdown::Write));
        let _ = read_some(http.socket());
        next += 1;
        1
    }
}

fn read_some(mut socket: &TcpStream) -> std::io::Result<usize> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.read(&mut [0; 4_096])
}

/// How long after its publisher had the answer the latest tick was read. Before the answer is no delay.
fn latest(hub: &Hub, clock: Clock) -> Duration {
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=ticks", &[]).expect("a stream");
    let reader =
        std::thread::spawn(move || (0..TICKS).map(|_| (stream.published().id, clock.now())).collect::<Vec<_>>());
    let mut publisher = Http::connect(hub.address()).expect("the hub accepts");
    let mut committed = Vec::new();
    let began = clock.now();
    for tick in 0..TICKS {
        let due = Duration::from_micros(began.0) + TICK * u32::try_from(tick).expect("few ticks");
        while let Some(left) = due.checked_sub(Duration::from_micros(clock.now().0)).filter(|left| !left.is_zero()) {
            std::thread::park_timeout(left);
        }
        let body = json!({"topic": "ticks", "data": tick.to_string()}).to_string();
        let headers = [("content-type", "application/json")];
        let answer = publisher.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        committed.push((answer.json()["id"].as_str().expect("an id").to_owned(), clock.now()));
    }
    let read = reader.join().expect("it reads every tick");
    let ids = |list: &[(String, _)]| list.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&read), ids(&committed), "every tick comes once, in order");
    let late = read.iter().zip(&committed).map(|((_, read), (_, commit))| read.0.saturating_sub(commit.0));
    Duration::from_micros(late.max().expect("there are ticks"))
}

#[test]
fn a_reader_of_a_ticker_is_not_held_up_by_those_who_do_everything_wrong() {
    // Unread events lie in the log, and those who are slow with their heads are refused meanwhile.
    let hub = Hub::start_with(BINARY, &["--dev", "--durability", "memory", "--head-timeout", "2s"], &[]);
    let clock = Clock::start();
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let undisturbed = latest(&hub, clock);
        let disturbance = Disturbance::begin(hub.address());
        let disturbed = latest(&hub, clock);
        let sent = disturbance.end();
        println!("the latest tick: {undisturbed:?}, and {disturbed:?} beside {sent} that were wrong");
        assert!(sent > IDLERS, "nobody disturbed");
        if disturbed <= undisturbed + MORE_MAX {
            return;
        }
        tries.push((undisturbed, disturbed));
    }
    panic!("the latest tick, undisturbed and disturbed: {tries:?}");
}
