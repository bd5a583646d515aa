//! Random appends, erasures, rules, moves of the clock and restarts, against a naive model: a vector of events
//! with what has become of each.

use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::conformance::{BEGINNING, Setup};
use crate::hiding_tests::{rules, topic};
use crate::testing::{Seen, append, event_with_id, matchers};
use crate::{Erase, EraseError, EventLog, Filter, Hidden, HubId, Met, Outage, PublisherId, SimDisk, Types};

/// Opens a log in a folder.
pub(crate) type Open = fn(&Setup, SimDisk) -> Box<dyn EventLog>;

const TOPICS: [&str; 4] = ["/brief/1", "/long/1", "a", "b"];
const BRIEF_MS: u64 = 5_000;
const LONG_MS: u64 = 60_000;

#[derive(Clone, Debug)]
enum Step {
    /// Events of a first and another topic, private or not, with this much data.
    Append(Vec<(usize, usize, bool, usize)>),
    EraseEvent(prop::sample::Index),
    ErasePublished(usize, u8),
    EraseTopic(usize),
    Pass(u64),
    Reopen,
    /// Reads from a random place, looking at so many bytes at a time.
    Read(prop::sample::Index, Asked, u64),
}

#[derive(Clone, Debug)]
struct Asked {
    topics: Vec<usize>,
    grants: Vec<usize>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let some = || prop::collection::vec(0..TOPICS.len(), 0..3);
    (some(), some()).prop_map(|(topics, grants)| Asked { topics, grants })
}

impl Asked {
    fn filter(&self) -> Filter {
        let names = |topics: &[usize]| topics.iter().map(|&n| TOPICS[n]).collect::<Vec<_>>();
        let topics = if self.topics.is_empty() { matchers(&["*"]) } else { matchers(&names(&self.topics)) };
        let grants = (!self.grants.is_empty()).then(|| matchers(&names(&self.grants)));
        Filter { topics, types: Types::All, grants }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let of = || 0..TOPICS.len();
    let new = (of(), of(), any::<bool>(), prop_oneof![4 => 0..50_usize, 1 => 500..2000_usize]);
    prop_oneof![
        6 => prop::collection::vec(new, 1..5).prop_map(Step::Append),
        3 => any::<prop::sample::Index>().prop_map(Step::EraseEvent),
        1 => (of(), 0..5_u8).prop_map(|(topic, id)| Step::ErasePublished(topic, id)),
        1 => of().prop_map(Step::EraseTopic),
        2 => prop_oneof![0..3_000_u64, Just(BRIEF_MS), 0..40_000_u64].prop_map(Step::Pass),
        1 => Just(Step::Reopen),
        6 => (any::<prop::sample::Index>(), asked(), prop_oneof![1 => Just(u64::MAX), 1 => 1..2_000_u64])
            .prop_map(|(from, asked, bytes)| Step::Read(from, asked, bytes)),
    ]
}

/// An event as the model has it.
struct Event {
    id: HubId,
    topics: [&'static str; 2],
    publisher_id: String,
    private: bool,
    data: String,
    born_ms: u64,
    is_erased: bool,
}

struct Run {
    setup: Setup,
    log: Option<Box<dyn EventLog>>,
    open: Open,
    disk: SimDisk,
    /// Whether events outlive the log.
    is_kept: bool,
    now_ms: u64,
    events: Vec<Event>,
}

impl Run {
    fn log(&self) -> &dyn EventLog {
        &**self.log.as_ref().expect("open")
    }

    fn hidden(&self, event: &Event) -> Option<Hidden> {
        let age_ms = self.now_ms - event.born_ms;
        let allowed_ms = match event.topics[0] {
            "/brief/1" => BRIEF_MS,
            "/long/1" => LONG_MS,
            _ => u64::MAX,
        };
        if event.is_erased { Some(Hidden::Erased) } else { (age_ms > allowed_ms).then_some(Hidden::Expired) }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(new) => self.append(&new),
            Step::EraseEvent(which) => {
                if self.events.is_empty() {
                    return;
                }
                let index = which.index(self.events.len());
                let is_seen = self.hidden(&self.events[index]).is_none();
                match self.log().erase(&Erase::Event(self.events[index].id)) {
                    Ok(erased) => assert!(is_seen && erased.events == Some(1)),
                    Err(error) => assert!(!is_seen && matches!(error, EraseError::NotFound), "{error}"),
                }
                self.events[index].is_erased |= is_seen;
            }
            Step::ErasePublished(of, id) => {
                let id = format!("p{id}");
                let of_it = |event: &Event| event.publisher_id == id && event.topics.contains(&TOPICS[of]);
                let seen: Vec<usize> = (0..self.events.len())
                    .filter(|&n| of_it(&self.events[n]) && self.hidden(&self.events[n]).is_none())
                    .collect();
                match self.log().erase(&Erase::PublisherId { topic: topic(TOPICS[of]), id: id.clone() }) {
                    Ok(erased) => assert_eq!(erased.events, Some(seen.len())),
                    Err(error) => assert!(seen.is_empty() && matches!(error, EraseError::NotFound), "{error}"),
                }
                seen.into_iter().for_each(|n| self.events[n].is_erased = true);
            }
            Step::EraseTopic(of) => {
                self.log().erase(&Erase::Topic(topic(TOPICS[of]))).expect("erased");
                let of_it = self.events.iter_mut().filter(|event| event.topics.contains(&TOPICS[of]));
                of_it.for_each(|event| event.is_erased = true);
            }
            Step::Pass(ms) => {
                self.now_ms += ms;
                self.setup.clock.set(self.now_ms);
            }
            Step::Reopen => {
                if self.is_kept {
                    self.log = None;
                    self.disk = self.disk.restart(Outage::Kill);
                    self.log = Some((self.open)(&self.setup, self.disk.clone()));
                }
            }
            Step::Read(from, asked, bytes) => self.read(from, &asked.filter(), bytes),
        }
    }

    fn append(&mut self, new: &[(usize, usize, bool, usize)]) {
        let mut drafts = Vec::new();
        for &(first, second, private, bytes) in new {
            let number = self.events.len();
            let data = format!("{number} {}", "x".repeat(bytes));
            // Ids come again, and then on other first topics or after their window.
            let publisher_id = format!("p{}", number % 5);
            drafts.push(Event {
                id: HubId::ZERO,
                topics: [TOPICS[first], TOPICS[second]],
                publisher_id,
                private,
                data,
                born_ms: self.now_ms,
                is_erased: false,
            });
        }
        for mut draft in drafts {
            let [first, second] = draft.topics;
            let mut event = if first == second {
                event_with_id(first, &draft.publisher_id, &draft.data)
            } else {
                let id = PublisherId::parse(&draft.publisher_id).expect("an id");
                crate::testing::event(&[first, second], &draft.data).with_publisher_id(id)
            };
            if draft.private {
                event = event.private();
            }
            draft.id = append(self.log(), vec![event])[0];
            self.events.push(draft);
        }
    }

    /// Reads on in steps, and compares with the model.
    fn read(&self, from: prop::sample::Index, filter: &Filter, bytes: u64) {
        let mut place = match from.index(self.events.len() + 1).checked_sub(1) {
            Some(index) => self.events[index].id,
            None => HubId::ZERO,
        };
        let after = place;
        let mut met = Vec::new();
        loop {
            let mut visit = |shown: Met<'_>| {
                met.push(match shown {
                    Met::Record(record) => (record.id, Ok(Seen::new(record).data)),
                    Met::Hidden { place, why } => (place, Err(why)),
                });
                ControlFlow::Continue(())
            };
            let end = self.log().read(place, filter, bytes, &mut visit).expect("read");
            assert!(end.looked_at >= place);
            place = end.looked_at;
            if end.at_head {
                break;
            }
        }
        let matching = self
            .events
            .iter()
            .filter(|event| event.id > after && filter.admits(event.topics.iter().copied(), "message", event.private));
        let expected: Vec<_> =
            matching.map(|event| (event.id, self.hidden(event).map_or_else(|| Ok(event.data.clone()), Err))).collect();
        assert_eq!(met, expected);
        let admitted = |event: &&Event| filter.admits(event.topics.iter().copied(), "message", event.private);
        let seen = self.events.iter().filter(admitted).filter(|event| self.hidden(event).is_none());
        let seen: Vec<HubId> = seen.map(|event| event.id).collect();
        let count = from.index(seen.len() + 1);
        let before_last = self.log().place_before_last(count as u64, filter).expect("read").place;
        assert_eq!(seen.iter().filter(|id| **id > before_last).count(), count);
        let counts = |of: &str| {
            let seen = self.events.iter().filter(|event| {
                event.topics.contains(&of)
                    && filter.may_read(event.topics.iter().copied(), event.private)
                    && self.hidden(event).is_none()
            });
            seen.count() as u64
        };
        let listed = self.log().topics(None, 10, filter).expect("read").topics;
        for of in TOPICS {
            let found = listed.iter().find(|summary| summary.topic == of).map_or(0, |summary| summary.events);
            assert_eq!(found, counts(of), "{of}");
        }
    }
}

/// Compares a log with the model.
pub(crate) fn run(open: Open, is_kept: bool) {
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let steps = prop::collection::vec(step(), 1..60);
    let tested = TestRunner::new(config).run(&steps, |steps| {
        let setup = Setup {
            rules: rules(&[("/brief/*", BRIEF_MS / 1000), ("/long/*", LONG_MS / 1000)]),
            window: std::time::Duration::ZERO,
            ..Setup::default()
        };
        let disk = SimDisk::default();
        let log = Some(open(&setup, disk.clone()));
        let mut run = Run { setup, log, open, disk, is_kept, now_ms: BEGINNING, events: Vec::new() };
        for step in steps {
            run.step(step);
        }
        Ok(())
    });
    tested.unwrap_or_else(|failure| panic!("{failure}"));
}
