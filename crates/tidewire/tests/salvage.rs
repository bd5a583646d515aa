//! Damage: `--salvage` goes on without what cannot be read, says which range is gone, and so do readers' gaps. What
//! is no damage it leaves alone.

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{Clock, EventStream, Http, StoppedLog, of_the_future, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(10);
/// How long a group's header is.
const GROUP_HEADER: usize = 48;

/// What a stream shows, up to an event that says `last`: `None` for a gap that says `damaged`.
fn shown(log: &StoppedLog, query: &str, after: Option<&str>, last: &str) -> Vec<Option<String>> {
    let headers: Vec<(&str, &str)> = after.iter().map(|id| ("last-event-id", *id)).collect();
    let target = format!("/api/v1/events?topic=a{query}");
    let mut stream = EventStream::open(log.hub.address(), &target, &headers).expect("the hub answers");
    let mut shown = Vec::new();
    loop {
        let event = stream.event().expect("the stream goes on").expect("the stream goes on");
        match event.event_type.as_str() {
            "tidewire.checkpoint" => {}
            "tidewire.gap" => {
                let gap: Value = serde_json::from_str(&event.data).expect("JSON");
                assert_eq!(gap["reason"], "damaged", "{gap}");
                // It may repeat.
                if shown.last() != Some(&None) {
                    shown.push(None);
                }
            }
            _ => {
                let is_last = event.data == last;
                shown.push(Some(event.id));
                if is_last {
                    return shown;
                }
            }
        }
    }
}

/// Without these events, everybody gets the others, and a gap where they were; also after another restart.
#[track_caller]
fn assert_gone(log: &mut StoppedLog, gone: Range<usize>) {
    let last = StoppedLog::content(StoppedLog::EVENTS - 1);
    let ids = log.ids.clone();
    let expected = |from: usize| {
        let before = (from..gone.start).map(|number| Some(ids[number].clone()));
        let after = (gone.end..StoppedLog::EVENTS).map(|number| Some(ids[number].clone()));
        before.chain([None]).chain(after).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(shown(log, "&from=earliest", None, &last), expected(0));
        if let Some(before) = gone.start.checked_sub(1) {
            assert_eq!(shown(log, "", Some(&ids[before]), &last), expected(gone.start));
        }
        let behind: Vec<_> = ids[gone.end + 1..].iter().cloned().map(Some).collect();
        if !behind.is_empty() {
            let shown = shown(log, "", Some(&ids[gone.end]), &last);
            assert_eq!(shown, behind, "who stands behind the damage has lost nothing");
        }
        log.hub.kill(Clock::start());
        log.hub.restart_with_arguments(&["--dev"]);
    }
}

/// Starts with `--salvage`, which must say which ids stand before and behind what is gone.
#[track_caller]
fn salvage(log: &mut StoppedLog, gone: &Range<usize>) {
    log.hub.restart_with_arguments(&["--dev", "--salvage"]);
    let next = log.ids.get(gone.end).map_or("the end", String::as_str);
    let told = match gone.start.checked_sub(1) {
        Some(last) => format!("salvage: gone: events between {} and {next} (", log.ids[last]),
        None => format!(" and {next} ("),
    };
    wait_until(&format!("it says {told:?}"), WITHIN, || log.hub.has_told(&told));
}

/// Which events lie in a segment.
fn events_of(log: &StoppedLog, segment: &str) -> Range<usize> {
    let first: usize = segment.trim_end_matches(".seg").parse().expect("a segment is called after its first sequence");
    first - 1..first - 1 + log.groups(segment).len()
}

#[test]
fn a_group_of_the_last_segment_is_gone() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, last) = (log.files.clone(), log.segments().pop().expect("there is one"));
    let (groups, events) = (log.groups(&last), events_of(&log, &last));
    for damaged in [0, groups.len() - 2] {
        for at in [0, GROUP_HEADER + 20] {
            log.files.clone_from(&whole);
            log.change(&last, |bytes| bytes[groups[damaged].0 + at] ^= 1);
            log.assert_refused(&[&last, "--salvage"]);
            let gone = events.start + damaged..events.start + damaged + 1;
            salvage(&mut log, &gone);
            assert_gone(&mut log, gone);
            log.hub.kill(Clock::start());
        }
    }
}

/// The segments say what is in them.
#[test]
fn the_manifest_is_gone() {
    let mut log = StoppedLog::new(BINARY);
    let whole = log.files.clone();
    for is_missing in [false, true] {
        log.files.clone_from(&whole);
        if is_missing {
            log.files.remove("manifest");
        } else {
            log.files.get_mut("manifest").expect("it is there")[30] ^= 1;
        }
        log.write();
        log.assert_refused(&["manifest", "--salvage"]);
        log.hub.restart_with_arguments(&["--dev", "--salvage"]);
        for _ in 0..2 {
            let all = shown(&log, "&from=earliest", None, &StoppedLog::content(StoppedLog::EVENTS - 1));
            assert_eq!(all, log.ids.iter().cloned().map(Some).collect::<Vec<_>>());
            log.hub.kill(Clock::start());
            log.hub.restart_with_arguments(&["--dev"]);
        }
        log.hub.kill(Clock::start());
    }
}

/// Its groups may be read all the same.
#[test]
fn a_segments_header_is_gone() {
    let mut log = StoppedLog::new(BINARY);
    let segment = log.segments()[1].clone();
    let segment_events = events_of(&log, &segment);
    log.change(&segment, |bytes| bytes[40] ^= 1);
    log.assert_refused(&[&segment, "--salvage"]);
    log.hub.restart_with_arguments(&["--dev", "--salvage"]);
    let all = shown(&log, "&from=earliest", None, &StoppedLog::content(StoppedLog::EVENTS - 1));
    let there: Vec<&String> = all.iter().flatten().collect();
    let gone: Vec<usize> = (0..StoppedLog::EVENTS).filter(|number| !there.contains(&&log.ids[*number])).collect();
    assert!(gone.iter().all(|number| segment_events.contains(number)), "more than the segment is gone: {gone:?}");
    if let (Some(first), Some(last)) = (gone.first(), gone.last()) {
        assert_gone(&mut log, *first..*last + 1);
    }
}

#[test]
fn a_segment_is_gone() {
    let mut log = StoppedLog::new(BINARY);
    let segment = log.segments()[1].clone();
    let gone = events_of(&log, &segment);
    log.files.remove(&segment);
    log.write();
    log.assert_refused(&["is missing", "--salvage"]);
    salvage(&mut log, &gone);
    assert_gone(&mut log, gone);
}

/// The start does not read it. Whoever comes by is told.
#[test]
fn a_group_of_a_sealed_segment_is_damaged() {
    let mut log = StoppedLog::new(BINARY);
    let segment = log.segments()[1].clone();
    let (groups, events) = (log.groups(&segment), events_of(&log, &segment));
    let damaged = groups.len() / 2;
    let (_, end) = groups[damaged];
    log.change(&segment, |bytes| bytes[end - 20] ^= 1);
    log.hub.restart();
    assert_gone(&mut log, events.start + damaged..events.start + damaged + 1);
}

/// It is told once, and counted.
#[test]
fn damaged_ranges_are_counted() {
    let mut log = StoppedLog::new(BINARY);
    let segments = log.segments();
    for segment in &segments[1..3] {
        let (_, end) = log.groups(segment)[0];
        log.change(segment, |bytes| bytes[end - 20] ^= 1);
    }
    log.hub.restart();
    shown(&log, "&from=earliest", None, &StoppedLog::content(StoppedLog::EVENTS - 1));
    let mut http = Http::connect(log.hub.admin()).expect("the hub listens");
    let metrics = http.request("GET", "/metrics", &[], b"").expect("the hub answers");
    assert!(metrics.text().contains("tidewire_log_damaged_ranges 2"), "{}", metrics.text());
}

/// Nobody has asked for it: it is found all the same, counted, and said with its file.
#[test]
fn a_scrub_finds_what_nobody_has_read() {
    let mut log = StoppedLog::with_indexes(BINARY);
    let segment = log.segments()[1].clone();
    let (groups, events) = (log.groups(&segment), events_of(&log, &segment));
    let damaged = groups.len() / 2;
    let (_, end) = groups[damaged];
    log.change(&segment, |bytes| bytes[end - 20] ^= 1);
    log.hub.restart_with("TIDEWIRE_SCRUB_RATE", "16MiB");
    let mut http = Http::connect(log.hub.admin()).expect("the hub listens");
    wait_until("all full files are checked", WITHIN, || {
        let metrics = http.request("GET", "/metrics", &[], b"").expect("the hub answers").text();
        let has = |line: &str| metrics.lines().any(|found| found == line);
        has("tidewire_log_damaged_ranges 1") && has("tidewire_log_scrub_passes_total 1")
    });
    assert!(log.hub.has_told(&segment), "it is not said where");
    assert_gone(&mut log, events.start + damaged..events.start + damaged + 1);
}

/// What it was followed by is gone as a whole: nobody can say which ids, so that everybody who comes back is told.
#[test]
fn the_newest_segments_are_gone() {
    let mut log = StoppedLog::with_indexes(BINARY);
    let segments = log.segments();
    let left = segments.len() - 2;
    let gone = events_of(&log, &segments[left]).start..StoppedLog::EVENTS;
    for segment in &segments[left..] {
        log.files.remove(segment);
    }
    log.write();
    log.assert_refused(&[&segments[left], "is missing", "--salvage"]);
    salvage(&mut log, &gone);
    let new = publish(&log, "new");
    for _ in 0..2 {
        let kept: Vec<_> = log.ids[..gone.start].iter().chain([&new]).cloned().map(Some).collect();
        assert_eq!(shown(&log, "&from=earliest", None, "new"), kept);
        for last in [gone.start - 1, gone.start, StoppedLog::EVENTS - 1] {
            let headers = [("last-event-id", log.ids[last].as_str())];
            let mut stream =
                EventStream::open(log.hub.address(), "/api/v1/events?topic=a", &headers).expect("an answer");
            let mut event = || stream.event().expect("the stream goes on").expect("the stream goes on");
            let met = std::iter::repeat_with(&mut event).find(|event| event.event_type != "tidewire.checkpoint");
            let gap = met.expect("something");
            assert_eq!(gap.event_type, "tidewire.gap", "after event {last}");
            assert!(gap.data.contains("epoch"), "{}", gap.data);
            assert_eq!(stream.published().id, new);
        }
        log.hub.terminate();
        let verified = Command::new(BINARY).args(["log", "verify", "--data-dir"]).arg(log.hub.data()).output();
        assert_eq!(verified.expect("it can be run").status.code(), Some(0));
        log.hub.restart_with_arguments(&["--dev"]);
    }
}

fn publish(log: &StoppedLog, data: &str) -> String {
    let body = json!({"topic": "a", "data": data}).to_string();
    let mut http = Http::connect(log.hub.address()).expect("the hub listens");
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    answer.expect("the hub answers").json()["id"].as_str().expect("an id").to_owned()
}

fn erase(log: &StoppedLog, target: &str) {
    let mut http = Http::connect(log.hub.address()).expect("the hub listens");
    let answer = http.request("DELETE", target, &[], b"").expect("the hub answers");
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// What was erased, overwritten or not yet, is no damage to salvage, and does not come back with it.
#[test]
fn what_was_erased_stays_so_beside_what_is_gone() {
    let mut log = StoppedLog::with_indexes(BINARY);
    let segments = log.segments();
    let damaged = events_of(&log, &segments[2]).start + 2;
    let first = events_of(&log, &segments[1]).start;
    let (overwritten, hidden) = (first + 1, first + 3);
    let path = |log: &StoppedLog, number: usize| format!("/api/v1/events/{}", log.ids[number].replace('#', "%23"));
    let holds = |log: &StoppedLog, number: usize| {
        let bytes = std::fs::read(log.hub.data().join(&segments[1])).expect("there");
        let text = format!("event {number}, and");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    log.hub.restart_with_arguments(&["--dev", "--erase-within", "1s"]);
    erase(&log, &path(&log, overwritten));
    wait_until("its bytes are overwritten", Duration::from_secs(30), || !holds(&log, overwritten));
    log.hub.kill(Clock::start());
    log.hub.restart_with_arguments(&["--dev", "--erase-within", "24h"]);
    erase(&log, &path(&log, hidden));
    log.hub.kill(Clock::start());
    log.read();
    assert!(log.files.contains_key("tombstones"));
    let (at, _) = log.groups(&segments[2])[2];
    // A segment's header and a group are damaged; what salvage makes anew, it makes of what the groups say.
    log.change(&segments[1], |bytes| bytes[40] ^= 1);
    log.change(&segments[2], |bytes| bytes[at + GROUP_HEADER + 20] ^= 1);
    log.assert_refused(&[&segments[1], "--salvage"]);
    log.hub.restart_with_arguments(&["--dev", "--salvage", "--erase-within", "1s"]);
    let kept = |log: &StoppedLog| {
        let gone = [overwritten, hidden, damaged];
        let kept = (0..StoppedLog::EVENTS).filter(|number| !gone.contains(number));
        kept.map(|number| log.ids[number].clone()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        let mut stream =
            EventStream::open(log.hub.address(), "/api/v1/events?topic=a&from=earliest", &[]).expect("an answer");
        let mut gaps = Vec::new();
        let mut ids = Vec::new();
        while ids.len() < kept(&log).len() {
            let event = stream.event().expect("the stream goes on").expect("the stream goes on");
            match event.event_type.as_str() {
                "tidewire.checkpoint" => {}
                "tidewire.gap" => gaps.push(event.data),
                _ => ids.push(event.id),
            }
        }
        assert_eq!(ids, kept(&log));
        assert!(
            gaps.iter().any(|gap| gap.contains("erased")) && gaps.iter().any(|gap| gap.contains("damaged")),
            "{gaps:?}"
        );
        log.hub.kill(Clock::start());
        log.hub.restart_with_arguments(&["--dev", "--erase-within", "1s"]);
    }
    wait_until("what was hidden is overwritten", Duration::from_secs(30), || !holds(&log, hidden));
    log.wait_for_indexes();
}

/// Another log's file, one under another's name, and one of a newer version would be lost by it.
#[test]
fn what_is_no_damage_is_not_salvaged() {
    let (mut log, other) = (StoppedLog::new(BINARY), StoppedLog::new(BINARY));
    let (whole, segments) = (log.files.clone(), log.segments());
    let refusals = [
        (other.files[&segments[1]].clone(), "belongs to another log"),
        (whole[&segments[2]].clone(), "has another file's contents"),
    ];
    for arguments in [&["--dev"][..], &["--dev", "--salvage"]] {
        log.hub.set_arguments(arguments);
        for (bytes, told) in &refusals {
            log.change(&segments[1], |segment| segment.clone_from(bytes));
            log.assert_refused(&[&segments[1], told]);
        }
        log.files.clone_from(&whole);
        log.change("manifest", |bytes| of_the_future(bytes));
        log.assert_refused(&["manifest", "has format 777", "use the version that wrote it"]);
        log.files.clone_from(&whole);
        log.write();
    }
}
