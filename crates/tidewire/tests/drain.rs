//! A hub that is told to stop: what becomes of its streams, of new ones, and of publishers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};
use tidewire_sse::Item;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const WHY: &str = "the hub is stopping";

fn start(settings: &[(&str, &str)]) -> Hub {
    Hub::start_with(BINARY, &["--dev"], settings)
}

fn publish(address: SocketAddr, data: &str) -> io::Result<u16> {
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = Http::connect(address)?.request("POST", "/api/v1/events", &headers, body.as_bytes());
    answer.map(|answer| answer.status)
}

fn stream(hub: &Hub) -> EventStream {
    EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers")
}

/// A stream that has begun.
fn begun(hub: &Hub) -> EventStream {
    let mut stream = stream(hub);
    assert_eq!(stream.event().expect("it begins").expect("it begins").event_type, "tidewire.checkpoint");
    stream
}

fn health(hub: &Hub, what: &str) -> u16 {
    let mut http = Http::connect(hub.admin()).expect("the admin listener accepts");
    http.request("GET", what, &[], b"").expect("the hub answers").status
}

/// What a stream shows from here to its last chunk: the data of events, comments, and times to come back.
fn rest(stream: &mut EventStream) -> (Vec<String>, Vec<String>, Vec<u64>) {
    let (mut events, mut comments, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    let mut heartbeats = 0;
    while let Some(item) = stream.item().expect("it ends with its last chunk") {
        match item {
            Item::Checkpoint(_) => {}
            Item::Event(event) if event.event_type.starts_with("tidewire.") => {}
            Item::Event(event) => events.push(event.data),
            Item::Comment(text) if text.is_empty() => {
                heartbeats += 1;
                assert!(heartbeats < 5, "it does not end");
            }
            Item::Comment(text) => comments.push(text),
            Item::Retry(ms) => retries.push(ms),
        }
    }
    (events, comments, retries)
}

#[test]
fn a_hub_told_to_stop_goes_on_as_before_for_the_delay_and_says_that_it_is_not_ready() {
    let mut hub = start(&[("TIDEWIRE_DRAIN_DELAY", "8s")]);
    let mut early = begun(&hub);
    assert_eq!(health(&hub, "/health/ready"), 200);
    let clock = Clock::start();
    hub.signal("TERM");
    wait_until("it is not ready", WITHIN, || health(&hub, "/health/ready") == 503);
    assert_eq!(health(&hub, "/health/live"), 200);
    let mut late = begun(&hub);
    let mut kept = Http::connect(hub.address()).expect("the hub listens");
    for n in ["1", "2"] {
        assert_eq!(publish(hub.address(), n).expect("the hub answers"), 200);
        let page = kept.request("GET", "/", &[], b"").expect("the hub answers");
        assert_eq!((page.status, page.header("connection")), (200, None));
    }
    let seen_at = Duration::from_micros(clock.now().0);
    assert!(seen_at < Duration::from_secs(8), "too slow to tell: {seen_at:?}");
    assert_eq!(hub.ended().code(), Some(0));
    assert!(clock.now().0 >= 8_000_000, "it did not wait for the delay");
    for stream in [&mut early, &mut late] {
        let (events, comments, retries) = rest(stream);
        assert_eq!((events, comments), (vec!["1".to_owned(), "2".to_owned()], vec![WHY.to_owned()]));
        assert!(matches!(retries[..], [1_500..=2_500]), "{retries:?}");
    }
}

/// Ends lie over the whole time, and not in a burst; who publishes meanwhile is answered.
#[test]
fn streams_are_ended_one_after_the_other_with_all_that_was_committed_before() {
    const STREAMS: usize = 24;
    const OVER: Duration = Duration::from_secs(6);
    let mut hub = start(&[("TIDEWIRE_DRAIN_TIMEOUT", "6s"), ("TIDEWIRE_SHARDS", "2")]);
    let streams: Vec<EventStream> = (0..STREAMS).map(|_| begun(&hub)).collect();
    let mut published = 0;
    let address = hub.address();
    let mut publish_next = || {
        let answer = publish(address, &published.to_string());
        published += usize::from(answer.is_ok());
        answer
    };
    for _ in 0..5 {
        assert_eq!(publish_next().expect("the hub answers"), 200);
    }
    let clock = Clock::start();
    hub.signal("TERM");
    let readers = streams.into_iter().map(|mut stream| {
        std::thread::spawn(move || {
            let shown = rest(&mut stream);
            (Duration::from_micros(clock.now().0), shown)
        })
    });
    let readers: Vec<_> = readers.collect();
    let mut answered_until = Duration::ZERO;
    while let Ok(status) = publish_next() {
        assert_eq!(status, 200);
        answered_until = Duration::from_micros(clock.now().0);
    }
    assert_eq!(hub.ended().code(), Some(0));
    let stopped = Duration::from_micros(clock.now().0);

    let mut ends: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("it ends whole")).collect();
    ends.sort();
    for (nth, (at, (events, comments, retries))) in ends.iter().enumerate() {
        let turn = OVER * u32::try_from(nth).expect("few") / u32::try_from(STREAMS).expect("few");
        assert!(*at >= turn, "stream {nth} ended after {at:?}, before {turn:?}");
        assert!(events.len() >= 5 && events.iter().enumerate().all(|(n, data)| *data == n.to_string()), "{events:?}");
        assert_eq!((&comments[..], retries.len()), (&[WHY.to_owned()][..], 1));
    }
    let retries: std::collections::BTreeSet<u64> = ends.iter().map(|(_, (_, _, retries))| retries[0]).collect();
    assert!(retries.len() > STREAMS / 2 && retries.iter().all(|ms| (1_500..=2_500).contains(ms)), "{retries:?}");
    assert!(ends[STREAMS / 2].0 < OVER, "half of them ended after {:?}", ends[STREAMS / 2].0);
    let last = ends[STREAMS - 1].0;
    assert!(answered_until > ends[STREAMS / 2].0 && stopped < OVER + Duration::from_secs(10), "{stopped:?}");
    println!("the first ended after {:?}, the last after {last:?}, the hub after {stopped:?}", ends[0].0);

    hub.restart();
    let mut after = EventStream::open(hub.address(), "/api/v1/events?topic=a&from=earliest", &[]).expect("an answer");
    for n in 0..published {
        assert_eq!(after.published().data, n.to_string());
    }
}

/// A native `EventSource` gives up for ever on any status but 200.
#[test]
fn a_hub_that_waits_for_its_clients_answers_new_streams_with_their_end_and_publishers_as_ever() {
    let mut hub = start(&[("TIDEWIRE_DRAIN_TIMEOUT", "none")]);
    let mut held = begun(&hub);
    let mut idle = Http::connect(hub.address()).expect("the hub listens");
    assert_eq!(idle.request("GET", "/", &[], b"").expect("the hub answers").status, 200);
    let mut slow = Http::connect(hub.address()).expect("the hub listens");
    let head =
        "POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n";
    slow.send_raw(format!("{head}{{\"topic\":\"a\"").as_bytes()).expect("the hub reads");
    hub.signal("TERM");
    wait_until("the drain begins", WITHIN, || {
        let mut page = Http::connect(hub.address()).expect("the hub listens");
        page.request("GET", "/", &[], b"").expect("the hub answers").header("connection") == Some("close")
    });
    let mut times = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut stream = stream(&hub);
        assert_eq!(stream.head.status, 200);
        let (events, comments, retries) = rest(&mut stream);
        assert_eq!((events, comments), (Vec::<String>::new(), vec![WHY.to_owned()]));
        assert!(matches!(retries[..], [1_500..=2_500]), "{retries:?}");
        times.extend(retries);
    }
    assert!(times.len() > 10, "{times:?}");
    // Who comes back has a place to go on from, or is told that something is gone.
    let target = "/api/v1/events?topic=a";
    for (last_id, begins) in [("", "tidewire.checkpoint"), ("no-such-id", "tidewire.gap")] {
        let headers: &[_] = if last_id.is_empty() { &[] } else { &[("last-event-id", last_id)] };
        let mut stream = EventStream::open(hub.address(), target, headers).expect("the hub answers");
        let event = stream.event().expect("a block").expect("an event");
        assert!(event.event_type == begins && event.id.starts_with('#'), "{event:?}");
        assert_eq!(stream.event().expect("it ends whole"), None);
    }
    assert_eq!(publish(hub.address(), "meanwhile").expect("the hub answers"), 200);
    assert_eq!(held.published().data, "meanwhile");
    assert!(hub.figure("tidewire_streams_turned_away_total") >= 22);
    assert_eq!((hub.figure("tidewire_streams"), hub.figure("tidewire_streams_drained_total")), (1, 0));
    assert_eq!(health(&hub, "/health/ready"), 503);

    drop(held);
    wait_until("the hub listens no more", WITHIN, || std::net::TcpStream::connect(hub.address()).is_err());
    slow.send_raw(b",\"data\":\"slow\"}\r\n").expect("the hub reads");
    let answer = slow.receive().expect("who publishes is answered");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
    assert_eq!(hub.ended().code(), Some(0));
    drop(idle);
}

/// A client that takes nothing is no reason to stay.
#[test]
fn who_takes_nothing_is_left_in_the_middle_of_an_event_at_the_end_of_the_time() {
    let mut hub = start(&[("TIDEWIRE_DRAIN_TIMEOUT", "1s")]);
    let mut deaf: Vec<Http> = (0..3).map(|_| Http::connect(hub.address()).expect("the hub listens")).collect();
    for http in &mut deaf {
        http.send("GET", "/api/v1/events?topic=a", &[], b"").expect("the hub reads");
        assert_eq!(http.receive_head().expect("the hub answers").0, 200);
    }
    let mut reader = begun(&hub);
    let data = "x".repeat(900_000);
    for _ in 0..12 {
        assert_eq!(publish(hub.address(), &data).expect("the hub answers"), 200);
    }
    let reading = std::thread::spawn(move || rest(&mut reader));
    wait_until("the others are stuck", WITHIN, || hub.figure("tidewire_short_writes_total") >= 3);
    let clock = Clock::start();
    assert_eq!(hub.terminate().code(), Some(0));
    let took = Duration::from_micros(clock.now().0);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(11), "it took {took:?}");
    let (events, comments, _) = reading.join().expect("it ends whole");
    assert!(events.len() == 12 && comments == [WHY], "{} {comments:?}", events.len());
    for mut http in deaf {
        let end = loop {
            match http.chunk() {
                Ok(Some(chunk)) => assert!(!String::from_utf8_lossy(&chunk).contains(WHY)),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(end.is_err(), "it had everything");
    }
}

/// The story: a developer's Ctrl+C took half a minute, since the page was open in a browser.
#[test]
fn a_hub_for_development_ends_its_streams_at_once() {
    let mut hub = start(&[]);
    let mut streams: Vec<EventStream> = (0..20).map(|_| begun(&hub)).collect();
    let clock = Clock::start();
    hub.signal("INT");
    assert_eq!(hub.ended().code(), Some(0));
    assert!(clock.now().0 < 5_000_000, "it took {:?}", clock.now());
    for stream in &mut streams {
        let (_, comments, retries) = rest(stream);
        assert_eq!((comments, retries.len()), (vec![WHY.to_owned()], 1));
    }
}

#[test]
fn a_second_signal_ends_the_hub_at_once_wherever_it_is() {
    for settings in [[("TIDEWIRE_DRAIN_DELAY", "1h")], [("TIDEWIRE_DRAIN_TIMEOUT", "none")]] {
        let mut hub = start(&settings);
        let _held = begun(&hub);
        hub.signal("TERM");
        wait_until("it is not ready", WITHIN, || health(&hub, "/health/ready") == 503);
        hub.signal("INT");
        assert_eq!(hub.ended().code(), Some(1), "{settings:?}");
        assert!(hub.has_told("second signal"));
    }
}
