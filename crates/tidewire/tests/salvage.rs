//! Damage: `--salvage` goes on without what cannot be read, says which range is gone, and so do readers' gaps. What
//! is no damage it leaves alone.

use std::ops::Range;
use std::time::Duration;

use serde_json::Value;
use tidewire_harness::{Clock, EventStream, Http, StoppedLog, wait_until};

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
        log.write();
    }
}
