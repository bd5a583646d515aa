//! Ten thousand readers catch up while retention removes what they come from: each gets everything from where it
//! begins, or is told what it missed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Crowd, EventStream, Http, Hub, Pace, RawReader, wait_until};
use tidewire_sim::{Answer, Asked, Attempt, Connection, Filter, History, Item, Place, Publication, Subscriber, Until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const READERS: usize = 10_000;
const TOPICS: usize = 100;
/// Events in one request.
const ARRAY: usize = 20;
/// What an event says, in bytes.
const CONTENT: usize = 2_000;
/// So slow that what they are to read is removed before.
const SLOW: Pace = Pace::Slow { bytes_per_second: 40_000 };
const SLOW_READERS: usize = 10;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(120);

/// What the log keeps, with its indexes: some 400 events. The tail in memory is shorter, so that readers come from files.
const SETTINGS: [(&str, &str); 3] =
    [("TIDEWIRE_SEGMENT_BYTES", "64KiB"), ("TIDEWIRE_RETENTION_BYTES", "1536KiB"), ("TIDEWIRE_TAIL_BYTES", "128KiB")];
/// So many are kept at least, however they fall into files.
const KEPT_MIN: usize = 300;

/// Publishes arrays one after the other until it is stopped, on all topics in turn.
struct Publisher {
    stop: Arc<AtomicBool>,
    last: Arc<Mutex<Place>>,
    thread: JoinHandle<Vec<Publication>>,
}

impl Publisher {
    fn start(address: SocketAddr, clock: Clock) -> Publisher {
        let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Place::ZERO)));
        let thread = std::thread::spawn({
            let (stop, last) = (Arc::clone(&stop), Arc::clone(&last));
            move || {
                let mut http = Http::connect(address).expect("the hub listens");
                let mut publications = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    *last.lock().expect("nobody panics with it") = publish(&mut http, clock, &mut publications);
                    // Slow enough that readers get by: a few times what is kept, while they come.
                    std::thread::park_timeout(Duration::from_millis(150));
                }
                // Everybody's last event.
                for _ in 0..TOPICS / ARRAY {
                    publish(&mut http, clock, &mut publications);
                }
                publications
            }
        });
        Publisher { stop, last, thread }
    }

    /// The last place it was told.
    fn place(&self) -> Place {
        *self.last.lock().expect("nobody panics with it")
    }

    fn stop(self) -> Vec<Publication> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the hub took everything")
    }
}

fn topic(number: usize) -> String {
    format!("topics/{}", number % TOPICS)
}

/// Publishes the next events as one array, and answers the last id.
fn publish(http: &mut Http, clock: Clock, publications: &mut Vec<Publication>) -> Place {
    let first = publications.len();
    let content = |number: usize| format!("{number} {}", "x".repeat(CONTENT));
    let body: Vec<_> = (first..first + ARRAY).map(|n| json!({"topic": topic(n), "data": content(n)})).collect();
    let began = clock.now();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, json!(body).to_string().as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ids = answer.json()["ids"].take();
    let mut last = Place::ZERO;
    for (number, id) in (first..).zip(ids.as_array().expect("one id for each event")) {
        last = id.as_str().and_then(|id| id.parse().ok()).expect("an id of the hub's");
        let attempt = Attempt::answered(began, clock.now(), Answer::Acknowledged(last));
        publications.push(Publication::new([topic(number).as_str()], &content(number)).attempt(attempt));
    }
    last
}

/// The place from which the earliest is read.
fn low_water(hub: &Hub) -> Place {
    let target = "/api/v1/events?topic=*&from=earliest";
    let mut stream = EventStream::open(hub.address(), target, &[]).expect("the hub answers");
    let first = stream.event().expect("it begins").expect("it begins");
    assert_eq!(first.event_type, "tidewire.checkpoint");
    first.id.parse().expect("a hub id")
}

fn gaps(subscriber: &Subscriber) -> impl Iterator<Item = (&str, Place)> {
    subscriber.connections.iter().flat_map(|connection| &connection.items).filter_map(|item| match item {
        Item::Gap { reason, resumed_from, .. } => Some((reason.as_str(), resumed_from.parse().expect("a hub id"))),
        Item::Event { .. } | Item::Checkpoint { .. } => None,
    })
}

#[test]
fn each_gets_everything_or_is_told() {
    let (hub, clock) = (Hub::start_with(BINARY, &["--dev"], &SETTINGS), Clock::start());
    let publisher = Publisher::start(hub.address(), clock);
    let begin = low_water(&hub);
    wait_until("the first events are removed", WITHIN, || low_water(&hub) > begin);
    let removed = low_water(&hub);
    let slow: Vec<RawReader> = (0..SLOW_READERS)
        .map(|number| {
            let subscriber = Subscriber::new(&format!("slow {number}"), Filter::any(), Until::Everything);
            let subscriber = subscriber.connection(Connection::begin(Asked::Earliest, clock.now()));
            RawReader::start(hub.address(), hub.life(), clock, SLOW, subscriber)
        })
        .collect();
    wait_until("what was there is removed", WITHIN, || low_water(&hub) > removed);
    // By now the place `removed` lies below the mark. Some come live, some with that place, most from the earliest.
    let subscriber = |number: usize| {
        let asked = match number % 10 {
            0 | 1 => Asked::Id(removed.to_string()),
            2 => Asked::Live,
            _ => Asked::Earliest,
        };
        let filter = Filter::topics([topic(number / 10).as_str()]);
        let subscriber = Subscriber::new(&format!("reader {number}"), filter, Until::Everything);
        subscriber.connection(Connection::begin(asked, clock.now()))
    };
    let mut crowd = Crowd::open(hub.address(), clock, (0..READERS).map(subscriber).collect(), WITHIN);
    let open = publisher.place();
    wait_until("all that was there when they came is removed", WITHIN, || low_water(&hub) > open);

    let mut history = History { publications: publisher.stop(), ..History::default() };
    let last = history.acknowledged_to();
    crowd.read_to(first_of_the_last(&history), WITHIN);
    history.subscribers = crowd.finish();
    for (number, reader) in slow.into_iter().enumerate() {
        reader.hurry();
        let subscriber = reader.stop_at(last, WITHIN);
        assert!(gaps(&subscriber).count() > 0, "slow reader {number} was too quick for this test");
        history.subscribers.push(subscriber);
    }
    let low_water = low_water(&hub);
    history.low_water = low_water;
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
    assert!(verdict.counts.gaps >= READERS / 5 + SLOW_READERS, "whoever came with a removed place is told");
    for (reason, resumed_from) in history.subscribers.iter().flat_map(gaps) {
        assert_eq!(reason, "expired");
        assert!(resumed_from <= low_water, "{resumed_from} was passed over, and only {low_water} was removed");
    }
    let kept = history.publications.iter().flat_map(|publication| &publication.attempts);
    let kept = kept.filter(|attempt| matches!(attempt.answer, Answer::Acknowledged(place) if place > low_water));
    assert!(kept.count() >= KEPT_MIN, "more was removed than had to be");
}

/// The place of the first of the last events, one on each topic.
fn first_of_the_last(history: &History) -> Place {
    let first = &history.publications[history.publications.len() - TOPICS];
    match first.attempts[0].answer {
        Answer::Acknowledged(place) => place,
        Answer::Refused | Answer::None => unreachable!("the hub took everything"),
    }
}
