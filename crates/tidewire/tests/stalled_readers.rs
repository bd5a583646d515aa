//! Readers that stop reading while much is published cost the hub next to nothing, and get everything that is retained
//! when they go on.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, Cost, Http, Hub};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// What an event says, in bytes.
const EVENT: usize = 16 * 1024;
/// Events in one request.
const ARRAY: usize = 16;
/// What the hub may have more at its peak, and for each reader, in bytes.
const COST_MAX: u64 = 4_000_000;
const COST_A_READER_MAX: u64 = 1_200;
/// What may be read from disk at a time, in bytes: 64 visits.
const DISK_BUFFERS: u64 = 64 * 64 * 1024;
const TAIL: u64 = 2 << 20;

/// The tests run one after the other, since each publishes at a pace.
static ALONE: Mutex<()> = Mutex::new(());

/// How much is published while they do not read, and how long that takes.
struct Load {
    bytes: usize,
    takes: Duration,
}

/// 256 MB in 10 s, or 1 GB in a minute with `XTASK_LONG=1`.
fn load() -> Load {
    if std::env::var("XTASK_LONG").is_ok_and(|long| long == "1") {
        Load { bytes: 1_000_000_000, takes: Duration::from_secs(60) }
    } else {
        Load { bytes: 256_000_000, takes: Duration::from_secs(10) }
    }
}

/// Numbered events, on one connection.
struct Publisher {
    http: Http,
    next: usize,
}

impl Publisher {
    fn publish(&mut self) {
        let data = |number: usize| format!("{number} {}", "x".repeat(EVENT - 16));
        let body: Vec<Value> = (self.next..).take(ARRAY).map(|n| json!({"topic": "a", "data": data(n)})).collect();
        let headers = [("content-type", "application/json")];
        let answer = self.http.request("POST", "/api/v1/events", &headers, json!(body).to_string().as_bytes());
        let answer = answer.expect("the hub answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.next += ARRAY;
    }

    /// Publishes so much in so much time, evenly.
    fn publish_evenly(&mut self, load: &Load, clock: Clock) {
        let requests = load.bytes.div_ceil(ARRAY * EVENT);
        let began = clock.now().0;
        for number in 1..=requests {
            self.publish();
            let due = began + u64::try_from(load.takes.as_micros()).expect("minutes") * number as u64 / requests as u64;
            std::thread::park_timeout(Duration::from_micros(due.saturating_sub(clock.now().0)));
        }
    }
}

/// A reader that checks the numbers.
struct Reader {
    address: SocketAddr,
    http: Http,
    last_id: String,
    /// The number after the last that it saw, if it saw one.
    next: Option<usize>,
    /// The first number behind each gap.
    behind_gaps: Vec<usize>,
    is_behind_gap: bool,
}

impl Reader {
    fn open(address: SocketAddr) -> Reader {
        let http = ask(address, &[]).expect("the hub answers");
        let mut reader =
            Reader { address, http, last_id: String::new(), next: None, behind_gaps: Vec::new(), is_behind_gap: false };
        reader.read_chunk().expect("it begins");
        reader
    }

    /// Reads until it has seen the number `last`, and comes back with its last id where it is cut.
    fn read_to(&mut self, last: usize) {
        while self.next != Some(last + 1) {
            if let Err(error) = self.read_chunk() {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
                let id = [("last-event-id", self.last_id.as_str())];
                self.http = ask(self.address, &id).expect("the hub answers");
            }
        }
    }

    /// A last chunk would say that nothing is missing: a reader whose event is gone is cut inside of it.
    fn read_chunk(&mut self) -> io::Result<()> {
        let chunk = self.http.chunk()?.expect("a stream is cut and never ended");
        let text = std::str::from_utf8(&chunk).expect("text");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            id.clone_into(&mut self.last_id);
        }
        match (field("event: "), field("data: ")) {
            (Some("tidewire.gap"), Some(data)) => {
                assert!(data.contains(r#""reason":"expired""#), "{data}");
                self.is_behind_gap = true;
            }
            (None | Some("message"), Some(data)) => {
                let (number, _) = data.split_once(' ').expect("a number");
                let number = number.parse().expect("a number");
                if std::mem::take(&mut self.is_behind_gap) {
                    self.behind_gaps.push(number);
                } else if let Some(next) = self.next {
                    assert_eq!(number, next, "nothing is passed over without a gap");
                }
                self.next = Some(number + 1);
            }
            _ => {}
        }
        Ok(())
    }
}

fn ask(address: SocketAddr, headers: &[(&str, &str)]) -> io::Result<Http> {
    let mut http = Http::connect(address)?;
    http.send("GET", "/api/v1/events?topic=a", headers, b"")?;
    let (status, _) = http.receive_head()?;
    assert_eq!(status, 200);
    Ok(http)
}

/// The oldest number that is retained.
fn oldest(address: SocketAddr) -> usize {
    let mut http = Http::connect(address).expect("the hub accepts");
    http.send("GET", "/api/v1/events?topic=a&from=earliest", &[], b"").expect("it can be sent");
    let (status, _) = http.receive_head().expect("the hub answers");
    assert_eq!(status, 200);
    let mut reader =
        Reader { address, http, last_id: String::new(), next: None, behind_gaps: Vec::new(), is_behind_gap: false };
    while reader.next.is_none() {
        reader.read_chunk().expect("an event");
    }
    reader.next.expect("just read") - 1
}

/// The hub's memory at its peak, in bytes.
struct Peaks {
    /// When all was published and nobody had read.
    stalled: u64,
    /// When everybody had read everything.
    read: u64,
}

/// One run with so many readers that do not read while it is published, and then do.
fn run(readers: usize, retention: &str) -> Peaks {
    let tail = TAIL.to_string();
    let settings = [
        ("TIDEWIRE_DURABILITY", "os"),
        ("TIDEWIRE_SEGMENT_BYTES", "1MiB"),
        ("TIDEWIRE_TAIL_BYTES", &tail),
        ("TIDEWIRE_RETENTION_BYTES", retention),
        // They go on one after the other.
        ("TIDEWIRE_STALL_TIMEOUT", "10min"),
    ];
    let (hub, clock) = (Hub::start_with(BINARY, &["--dev"], &settings), Clock::start());
    let mut publisher = Publisher { http: Http::connect(hub.address()).expect("the hub accepts"), next: 0 };
    while (publisher.next * EVENT) as u64 <= 2 * TAIL {
        publisher.publish();
    }
    let full = hub.figure("tidewire_tail_bytes");
    assert!(full > TAIL / 2, "the tail has {full} bytes, and is not full");
    let first = publisher.next;
    // A start takes more than serving does, and readers could hide behind it.
    Cost::reset_peak(hub.process());
    let mut stalled: Vec<Reader> = (0..readers).map(|_| Reader::open(hub.address())).collect();
    publisher.publish_evenly(&load(), clock);
    let peak_stalled = Cost::of(hub.process()).peak;
    assert_eq!(hub.figure("tidewire_streams"), readers as u64);

    let mut retained_from = oldest(hub.address());
    for reader in &mut stalled {
        reader.read_to(publisher.next - 1);
        let before = std::mem::replace(&mut retained_from, oldest(hub.address()));
        match reader.behind_gaps.last() {
            None => assert!(retained_from <= first, "what is gone is told"),
            // What the log keeps includes indexes, which are written a little later.
            Some(number) => assert!((before..=retained_from).contains(number), "{number} follows the gap"),
        }
        assert!(before > first || reader.behind_gaps.is_empty(), "everything is retained");
    }
    Peaks { stalled: peak_stalled, read: Cost::of(hub.process()).peak }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// How often each is run, of which the median counts.
const REPEATS: usize = 3;

/// Compares runs with and without readers, in turn.
fn compare(readers: usize, retention: &str) {
    let _alone = ALONE.lock();
    let (mut without, mut with): (Vec<Peaks>, Vec<Peaks>) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        without.push(run(0, retention));
        with.push(run(readers, retention));
    }
    let base = median(without.iter().map(|peaks| peaks.stalled).collect());
    let more = |peak: fn(&Peaks) -> u64| median(with.iter().map(peak).collect()).saturating_sub(base);
    let (stalled, read) = (more(|peaks| peaks.stalled), more(|peaks| peaks.read));
    println!("{readers} readers that stop: {stalled} bytes more than {base}, and {read} once they have read");
    let allowed = COST_MAX + COST_A_READER_MAX * readers as u64;
    assert!(stalled <= allowed, "{readers} readers that stop cost {stalled} bytes");
    assert!(read <= allowed + DISK_BUFFERS, "{readers} readers that go on cost {read} bytes");
}

#[test]
fn three_hundred_readers_that_stop_cost_little_and_get_what_is_retained() {
    compare(300, "4MiB");
}

#[test]
fn a_reader_that_stops_costs_little_and_gets_everything() {
    compare(1, "2GiB");
}
