//! What `cargo xtask instructions` counts the instructions of: a few things that the log does all the time, each so that it
//! takes the same steps in every run. Callgrind counts what runs within [`measured`]; where the log's own thread does the
//! work, the count is that of the whole run less that of one which only opens the log.
//!
//! `instructions fill FOLDER` makes a log of many segments; the other scenarios but `open` and `append` read it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tidewire_log::{
    Clock, Data, EVENT_BYTES, EventLog, FileLog, FileLogConfig, Filter, HubId, Met, NewEvent, RealDisk, Types,
};
use tidewire_topic::{Matcher, MatcherSet, Topic};

/// Events of the log that is read, and of each array by which it is filled.
const EVENTS: usize = 20_000;
const ARRAY_EVENTS: usize = 100;

/// Topics that take turns; the rare one has an event in each stretch of so many.
const TOPICS: usize = 100;
const RARE_EVERY: usize = EVENTS / RARE_EVENTS;
const RARE_EVENTS: usize = 10;
const RARE: &str = "rare";

/// So that the log has many.
const SEGMENT_BYTES: u64 = 64 << 10;

/// Single events that are appended, each after the one before was committed.
const APPENDED: usize = 1_000;

/// Events of a page.
const PAGE_EVENTS: usize = 1_000;

/// Time stands.
struct Fixed;

impl Clock for Fixed {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, folder] = arguments.as_slice() else { panic!("usage: instructions SCENARIO FOLDER") };
    let folder = Path::new(folder);
    match scenario.as_str() {
        "fill" => fill(&open(folder)),
        "open" => drop(open(folder)),
        "append" => {
            let log = open(folder);
            (0..APPENDED).for_each(|number| append(&log, vec![event(number)]));
        }
        "start" => {
            let mut log = None;
            measured(&mut || log = Some(open(folder)));
            assert!(log.is_some_and(|log| log.stats().records == EVENTS as u64 && log.stats().segments > 30));
        }
        "rare" => {
            let rare = MatcherSet::new([Matcher::parse(RARE).expect("a matcher")]).expect("a set");
            read(&open(folder), &rare, RARE_EVENTS);
        }
        "page" => read(&open(folder), &MatcherSet::any(), PAGE_EVENTS),
        other => panic!("there is no scenario {other}"),
    }
}

/// What callgrind looks for: it must be there, under this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    work();
}

fn open(folder: &Path) -> FileLog {
    let config = FileLogConfig { segment_bytes: SEGMENT_BYTES, ..FileLogConfig::default() };
    let disk = RealDisk::new(folder).expect("the folder can be made");
    FileLog::open(disk, &config, Arc::new(Fixed)).expect("the log can be opened").0
}

fn fill(log: &FileLog) {
    for first in (0..EVENTS).step_by(ARRAY_EVENTS) {
        append(log, (first..first + ARRAY_EVENTS).map(event).collect());
    }
}

fn event(number: usize) -> NewEvent {
    let is_rare = number % RARE_EVERY == RARE_EVERY / 2;
    let topic = if is_rare { RARE.to_owned() } else { format!("topic-{}", number % TOPICS) };
    let topic = Topic::parse(&topic).expect("a topic");
    let data = Data::Text(format!("{number:064}"));
    NewEvent::new(vec![topic], &data, EVENT_BYTES).expect("an event")
}

/// Appends an array and waits until it is committed.
fn append(log: &FileLog, events: Vec<NewEvent>) {
    let (sender, committed) = sync_channel(1);
    // Who waits is here.
    log.append(events, Box::new(move |fate| _ = sender.send(fate)));
    committed.recv().expect("every array has a fate").expect("it is committed");
}

/// Reads so many events from the earliest on.
fn read(log: &FileLog, topics: &MatcherSet, events: usize) {
    let filter = Filter { topics: topics.clone(), types: Types::All, grants: None };
    let mut seen = 0;
    measured(&mut || {
        let end = log.read(HubId::ZERO, &filter, u64::MAX, &mut |met| {
            seen += usize::from(matches!(met, Met::Record(_)));
            if seen < events { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        end.expect("the log can be read");
    });
    assert_eq!(seen, events);
}
