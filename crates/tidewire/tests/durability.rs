//! Each kind of durability taken at its word, also where the clock is set back between two runs.

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, StoppedLog, WallClock, set_checksum};
use tidewire_sim::Place;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// Publishes an event and answers its place.
#[track_caller]
fn publish(hub: &Hub, data: &str) -> Place {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = json!({"topic": "a", "data": data}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().and_then(|id| id.parse().ok()).expect("a hub id")
}

/// What a stream shows at first: gaps as reason and what was asked, events as their data. Checkpoints are left out.
fn shown(hub: &Hub, query: &str, last: Option<Place>, count: usize) -> Vec<(String, String)> {
    let last = last.map(|place| place.to_string());
    let headers: Vec<(&str, &str)> = last.iter().map(|id| ("last-event-id", id.as_str())).collect();
    let target = format!("/api/v1/events?topic=a{query}");
    let mut stream = EventStream::open(hub.address(), &target, &headers).expect("the hub answers");
    stream.shows(count)
}

fn event(data: &str) -> (String, String) {
    ("event".to_owned(), data.to_owned())
}

#[test]
fn memory_forgets_at_a_restart_and_tells_who_comes_back() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "memory")]);
    let old: Vec<Place> = ["one", "two", "three"].iter().map(|data| publish(&hub, data)).collect();
    assert_eq!(shown(&hub, "", Some(old[0]), 2), [event("two"), event("three")]);
    for is_killed in [true, false] {
        if is_killed {
            hub.kill(Clock::start());
        } else {
            assert_eq!(hub.terminate().code(), Some(0));
        }
        hub.restart();
        let new = publish(&hub, "new");
        assert!(old.iter().all(|old| *old < new), "{new} after {old:?}");
        assert_eq!(shown(&hub, "&from=earliest", None, 1), [event("new")]);
        for last in &old {
            let expected = [("epoch".to_owned(), last.to_string()), event("new")];
            assert_eq!(shown(&hub, "", Some(*last), 2), expected);
        }
    }
}

/// An id that was given out names one event for ever, and a reader that comes back with one of an earlier run is told.
#[test]
fn memory_gives_no_id_twice_though_the_clock_is_set_back() {
    let clock = WallClock::new();
    let (preload, library) = clock.variable();
    let settings = [("TIDEWIRE_DURABILITY", "memory"), (preload, library.as_str())];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let mut given: Vec<Place> = Vec::new();
    for offset in ["0", "-3600", "-7200", "0", "3600", "-3600"] {
        hub.kill(Clock::start());
        hub.restart_with(WallClock::OFFSET, offset);
        let first = publish(&hub, "first");
        for last in &given {
            let expected = [("epoch".to_owned(), last.to_string()), event("first")];
            assert_eq!(shown(&hub, "", Some(*last), 2), expected, "with the clock moved by {offset} s");
        }
        given.push(first);
        given.extend((0..5).map(|_| publish(&hub, "more")));
        assert!(given.is_sorted_by(|a, b| a < b), "with the clock moved by {offset} s: {given:?}");
    }
}

#[test]
fn what_was_committed_keeps_its_order_though_the_clock_is_set_back() {
    let clock = WallClock::new();
    let (preload, library) = clock.variable();
    let (segment, retention) = (("TIDEWIRE_SEGMENT_BYTES", "1MiB"), ("TIDEWIRE_RETENTION_BYTES", "64MiB"));
    let settings = [segment, retention, (preload, library.as_str())];
    let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let mut given: Vec<Place> = Vec::new();
    for offset in ["0", "-3600", "-7200", "0", "86400", "-3600"] {
        hub.kill(Clock::start());
        hub.restart_with(WallClock::OFFSET, offset);
        let next = given.len();
        given.extend((next..next + 5).map(|number| publish(&hub, &number.to_string())));
        assert!(given.is_sorted_by(|a, b| a < b), "with the clock moved by {offset} s: {given:?}");
        let all: Vec<_> = (0..given.len()).map(|number| event(&number.to_string())).collect();
        assert_eq!(shown(&hub, "&from=earliest", None, all.len()), all);
        for (number, last) in given[..given.len() - 1].iter().enumerate() {
            let after = &all[number + 1..];
            assert_eq!(shown(&hub, "", Some(*last), after.len()), after, "with the clock moved by {offset} s");
        }
    }
    let days = (given[given.len() - 1].ms - given[0].ms) / 86_400_000;
    assert_eq!(days, 1, "the hub's clock is moved");
}

/// The place that a new reader is told before it is shown anything.
fn told_at_once(hub: &Hub) -> Place {
    let mut stream = EventStream::open(hub.address(), "/api/v1/events?topic=a", &[]).expect("the hub answers");
    let event = stream.event().expect("the stream goes on").expect("the stream goes on");
    assert_eq!(event.event_type, "tidewire.checkpoint");
    event.id.parse().expect("a place")
}

/// Until there was an event, new readers were told a place of the epoch before, and got a gap for nothing each time
/// that they came back.
#[test]
fn who_was_told_a_place_since_the_start_comes_back_without_a_gap_in_every_mode() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[]);
    let committed = publish(&hub, "committed");
    for mode in ["memory", "commit", "os", "memory", "os", "commit"] {
        hub.terminate();
        hub.restart_with("TIDEWIRE_DURABILITY", mode);
        let told = told_at_once(&hub);
        assert!(told >= committed, "{told}");
        assert_eq!(told_at_once(&hub), told);
        let returned = std::thread::scope(|scope| {
            let returned = scope.spawn(|| shown(&hub, "", Some(told), 1));
            publish(&hub, mode);
            returned.join().expect("shown")
        });
        assert_eq!(returned, [event(mode)], "in {mode}");
    }
}

/// A reader that comes back again and again, with whatever id it was given last, over changes of the mode: it gets all
/// that is there behind its place, in order, and a gap before it where an epoch has begun since.
#[test]
fn a_reader_catches_up_over_changes_of_the_mode() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "memory")]);
    let mut given: Vec<Place> = vec![publish(&hub, "in memory 1")];
    publish(&hub, "in memory 2");
    hub.terminate();

    hub.restart_with("TIDEWIRE_DURABILITY", "commit");
    let committed: Vec<Place> = ["one", "two", "three"].iter().map(|data| publish(&hub, data)).collect();
    let epoch = |last: Place| ("epoch".to_owned(), last.to_string());
    let all = [event("one"), event("two"), event("three")];
    assert_eq!(shown(&hub, "", Some(given[0]), 4), [&[epoch(given[0])][..], &all].concat());
    assert_eq!(shown(&hub, "", Some(committed[0]), 2), all[1..]);
    given.extend(&committed);
    hub.kill(Clock::start());

    // What is on disk waits; what is in memory is all that there is to see.
    hub.restart_with("TIDEWIRE_DURABILITY", "memory");
    let in_memory = publish(&hub, "in memory 3");
    assert_eq!(shown(&hub, "", Some(committed[1]), 2), [epoch(committed[1]), event("in memory 3")]);
    assert_eq!(shown(&hub, "&from=earliest", None, 1), [event("in memory 3")]);
    given.push(in_memory);
    hub.kill(Clock::start());

    hub.restart_with("TIDEWIRE_DURABILITY", "commit");
    let last = publish(&hub, "four");
    assert!(given.iter().all(|place| *place < last), "{last} after {given:?}");
    assert_eq!(
        shown(&hub, "", Some(committed[0]), 4),
        [epoch(committed[0]), event("two"), event("three"), event("four")]
    );
    assert_eq!(shown(&hub, "", Some(in_memory), 2), [epoch(in_memory), event("four")]);
    assert_eq!(shown(&hub, "&from=earliest", None, 4), [&all[..], &[event("four")]].concat());
}

/// Where the manifest has the id of the kernel's start.
const BOOT_ID: std::ops::Range<usize> = 76..92;

#[test]
fn os_survives_a_killed_process() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "os")]);
    let mut published = Vec::new();
    for _ in 0..3 {
        published.extend((0..20).map(|number| publish(&hub, &number.to_string())));
        hub.kill(Clock::start());
        hub.restart();
        let after = shown(&hub, "", Some(published[0]), published.len() - 1);
        assert!(after.iter().all(|(kind, _)| kind == "event"), "{after:?}");
    }
}

/// That it was stopped says that all that was shown is there: nobody is told of an epoch.
#[test]
fn os_stopped_properly_has_everything_and_begins_no_epoch() {
    let mut hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_DURABILITY", "os")]);
    let mut published = Vec::new();
    for _ in 0..2 {
        let from = published.len();
        published.extend((from..from + 20).map(|number| publish(&hub, &number.to_string())));
        let told = told_at_once(&hub);
        assert_eq!(hub.terminate().code(), Some(0));
        // After a stop, a kernel that was started since makes no difference.
        let manifest = hub.data().join("manifest");
        let mut bytes = std::fs::read(&manifest).expect("it is there");
        bytes[BOOT_ID].copy_from_slice(b"another start...");
        set_checksum(&mut bytes);
        std::fs::write(&manifest, bytes).expect("it can be written");
        hub.restart();
        let all: Vec<_> = (0..published.len()).map(|number| event(&number.to_string())).collect();
        assert_eq!(shown(&hub, "&from=earliest", None, all.len()), all);
        for (number, last) in published[..published.len() - 1].iter().enumerate() {
            let after = &all[number + 1..];
            assert_eq!(shown(&hub, "", Some(*last), after.len()), after);
        }
        // Who had seen everything, or was told a place before the first event.
        let new = published.len().to_string();
        published.push(publish(&hub, &new));
        for last in [published[published.len() - 2], told] {
            assert_eq!(shown(&hub, "", Some(last), 1), [event(&new)]);
        }
    }
}

/// A power cut cannot be had here. What it leaves can: a file that ends before the newest events do, some of them in
/// part, and a kernel that has been started since.
#[test]
fn after_a_power_cut_os_has_the_events_up_to_one_and_tells_who_had_seen_more() {
    let mut log = StoppedLog::with_durability(BINARY, "os");
    let (whole, last) = (log.files.clone(), log.segments().pop().expect("there is one"));
    let groups = log.groups(&last);
    let in_last = groups.len();
    for (cut, is_torn) in [(0, false), (1, false), (2, true), (in_last, false), (in_last, true)] {
        log.files.clone_from(&whole);
        let manifest = log.files.get_mut("manifest").expect("it is there");
        manifest[BOOT_ID].copy_from_slice(b"another start...");
        set_checksum(manifest);
        let from = groups.get(in_last - cut).map_or(groups[in_last - 1].1, |group| group.0);
        let zeros_from = if is_torn { from + 100 } else { from };
        log.change(&last, |bytes| bytes[zeros_from..].fill(0));
        log.hub.restart();
        let left = StoppedLog::EVENTS - cut;
        let places: Vec<Place> = log.ids.iter().map(|id| id.parse().expect("a place")).collect();
        let new = publish(&log.hub, "new");
        assert!(places.iter().all(|place| *place < new), "an id comes again: {new}");
        let kept = |from: usize| (from..left).map(|number| event(&StoppedLog::content(number)));
        let all: Vec<_> = kept(0).chain([event("new")]).collect();
        assert_eq!(shown(&log.hub, "&from=earliest", None, all.len()), all, "{cut} gone");
        for seen in [0, left - 1, StoppedLog::EVENTS - 1] {
            let gap = ("epoch".to_owned(), log.ids[seen].clone());
            let expected: Vec<_> = [gap].into_iter().chain(kept(seen + 1)).chain([event("new")]).collect();
            assert_eq!(shown(&log.hub, "", Some(places[seen]), expected.len()), expected, "{cut} gone, {seen} seen");
        }
        log.hub.kill(Clock::start());
    }
}
