//! Random runs of the file log on a failing disk, against a naive model: a vector of what was
//! shown. The runs go through the same steps as the log's thread, without the thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::committer::{Answer, Committer, Window};
use super::cursor::FileCursor;
use super::keeper::Retention;
use super::open::{self, Opened, Opening};
use super::recovery::OpenError;
use super::segments::fill_segment;
use super::{Outage, SimDisk};
use crate::cursor::RecordCursor;
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Seen, TestClock, event, event_with_id};
use crate::{AppendError, HubId};

const WINDOW: Window = Window { window_ms: 5_000, entries_max: 100_000 };
const SEGMENT_BYTES: u64 = 4096;
const RETENTION: Retention = Retention { bytes: 4 * SEGMENT_BYTES, age_ms: u64::MAX };

fn opening(clock: &Arc<TestClock>) -> Opening {
    Opening {
        segment_bytes: SEGMENT_BYTES,
        retention: RETENTION,
        window: WINDOW,
        ..super::tests::opening(Arc::clone(clock))
    }
}

/// An event to publish. With an id its data follow from the id and the variant, so that it can be
/// repeated; without one they are unlike any other.
#[derive(Clone, Debug)]
struct Publication {
    topic: u8,
    id: Option<u8>,
    variant: bool,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Step {
    /// These arrays wait together.
    Append(Vec<Vec<Publication>>),
    Trim,
    /// The clocks are kept, and the floor of ids moves.
    Keep,
    /// The next segment is made ahead of need.
    Ahead,
    Clock(u64),
    /// The machine stops during an operation soon; recovery is interrupted each time in turn.
    Outage {
        after: u64,
        arrays: Vec<Vec<Publication>>,
        outage: Cut,
        interruptions: Vec<Interruption>,
    },
    /// The process is stopped properly and started again.
    Restart,
    /// A sync fails soon; then the process is started again after an outage.
    FailedSync {
        after: u64,
        arrays: Vec<Vec<Publication>>,
        outage: Cut,
    },
    /// So many more bytes fit on the disk while these arrays come.
    Full {
        more: u64,
        arrays: Vec<Vec<Publication>>,
    },
}

/// A start that does not come to its end: the machine stops, or a sync fails, and then an outage.
#[derive(Clone, Copy, Debug)]
struct Interruption {
    after: u64,
    by_failed_sync: bool,
    outage: Cut,
}

#[derive(Clone, Copy, Debug)]
struct Cut(Option<u64>);

impl Interruption {
    fn plan(&self, disk: &SimDisk) {
        if self.by_failed_sync {
            disk.fail_sync_after(self.after % 4);
        } else {
            disk.stop_at(1 + self.after);
        }
    }
}

impl From<Cut> for Outage {
    fn from(cut: Cut) -> Outage {
        cut.0.map_or(Outage::Kill, Outage::PowerCut)
    }
}

fn publication() -> impl Strategy<Value = Publication> {
    let bytes = prop_oneof![4 => 0..60_usize, 2 => 200..900_usize, 1 => 1500..5000_usize];
    (0..3_u8, proptest::option::of(0..4_u8), prop::bool::weighted(0.2), bytes)
        .prop_map(|(topic, id, variant, bytes)| Publication { topic, id, variant, bytes })
}

fn arrays() -> impl Strategy<Value = Vec<Vec<Publication>>> {
    prop::collection::vec(prop::collection::vec(publication(), 1..4), 1..5)
}

fn cut() -> impl Strategy<Value = Cut> {
    proptest::option::weighted(0.8, any::<u64>()).prop_map(Cut)
}

fn interruption() -> impl Strategy<Value = Interruption> {
    (0..12_u64, prop::bool::weighted(0.3), cut()).prop_map(|(after, by_failed_sync, outage)| Interruption {
        after,
        by_failed_sync,
        outage,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let interruptions = prop::collection::vec(interruption(), 0..3);
    prop_oneof![
        6 => arrays().prop_map(Step::Append),
        1 => Just(Step::Trim),
        1 => Just(Step::Keep),
        1 => Just(Step::Ahead),
        1 => prop_oneof![0..20_000_u64, Just(10_000), 0..1_000_000_u64].prop_map(Step::Clock),
        3 => (0..25_u64, arrays(), cut(), interruptions).prop_map(|(after, arrays, outage, interruptions)| {
            Step::Outage { after, arrays, outage, interruptions }
        }),
        1 => Just(Step::Restart),
        1 => (0..4_u64, arrays(), cut()).prop_map(|(after, arrays, outage)| Step::FailedSync { after, arrays, outage }),
        1 => (0..6000_u64, arrays()).prop_map(|(more, arrays)| Step::Full { more, arrays }),
    ]
}

/// What is remembered of a publisher's id.
#[derive(Clone, Debug)]
struct Known {
    id: HubId,
    variant: bool,
    time_ms: u64,
    /// Whether the window had passed it at some time. After that the clock may have gone back, and
    /// the log may have forgotten it or not.
    has_expired: bool,
}

struct Run {
    disk: SimDisk,
    log: Option<Opened<SimDisk>>,
    fingerprints: Fingerprints,
    clock: Arc<TestClock>,
    counter: u64,
    /// Everything that was ever shown, in order.
    shown: Vec<Seen>,
    /// The data of arrays of which nobody knows whether they are there.
    unknown: Vec<Vec<String>>,
    /// Data that must never be seen.
    refused: HashSet<String>,
    known: HashMap<(u8, u8), Known>,
    low_water: HubId,
}

impl Run {
    fn new() -> Run {
        let mut run = Run {
            disk: SimDisk::default(),
            log: None,
            fingerprints: Fingerprints::default(),
            clock: TestClock::at(10_000),
            counter: 0,
            shown: Vec::new(),
            unknown: Vec::new(),
            refused: HashSet::new(),
            known: HashMap::new(),
            low_water: HubId::ZERO,
        };
        run.open();
        run
    }

    fn log(&mut self) -> &mut Opened<SimDisk> {
        self.log.as_mut().expect("open")
    }

    fn committer(&mut self) -> &mut Committer<SimDisk> {
        &mut self.log().committer
    }

    /// The retention clock, by which the window goes.
    fn now_ms(&self) -> u64 {
        self.log.as_ref().expect("open").times.moment().retention_ms
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(arrays) => self.append(&arrays),
            Step::Trim => {
                self.log().keeper.trim().expect("trimmed");
                self.low_water = self.committer().shelf().low_water();
            }
            Step::Keep => self.log().keeper.ledger.keep_times().expect("kept"),
            Step::Ahead => self.make_spare(),
            Step::Clock(now_ms) => {
                self.clock.set(now_ms);
                let has_expired: Vec<_> =
                    self.known.iter().filter(|(_, known)| !self.is_live(known)).map(|(&key, _)| key).collect();
                for key in has_expired {
                    self.known.entry(key).and_modify(|known| known.has_expired = true);
                }
            }
            Step::Restart => {
                self.disk = self.disk.restart(Outage::Kill);
                self.open();
            }
            Step::Outage { after, arrays, outage, interruptions } => {
                self.disk.stop_at(self.disk.operations() + 1 + after);
                self.append(&arrays);
                // These may be what is interrupted.
                self.make_spare();
                self.log().keeper.trim().unwrap_or_default();
                self.log().keeper.ledger.keep_times().unwrap_or_default();
                self.disk = self.disk.restart(outage.into());
                for interruption in interruptions {
                    interruption.plan(&self.disk);
                    drop(self.try_open());
                    self.disk = self.disk.restart(interruption.outage.into());
                }
                self.open();
            }
            Step::FailedSync { after, arrays, outage } => {
                self.disk.fail_sync_after(after);
                self.append(&arrays);
                self.disk = self.disk.restart(outage.into());
                self.open();
            }
            Step::Full { more, arrays } => {
                let used: usize =
                    self.disk.names().iter().map(|name| self.disk.contents(name).map_or(0, |bytes| bytes.len())).sum();
                self.disk.set_space(Some(used as u64 + more));
                self.append(&arrays);
                self.disk.set_space(None);
                assert_eq!(self.committer().failure(), None, "a full disk is no failure");
            }
        }
    }

    /// As the log's threads do it.
    fn make_spare(&mut self) {
        let segments = self.committer().segments();
        if segments.wants_spare().is_some()
            && let Ok(spare) = fill_segment(&**segments.disk(), SEGMENT_BYTES)
        {
            segments.set_spare(spare);
        }
    }

    fn data(&mut self, publication: &Publication) -> String {
        let Publication { topic, id, variant, bytes } = publication;
        match id {
            Some(id) => format!("{topic} {id} {variant}"),
            None => {
                self.counter += 1;
                format!("#{} {}", self.counter, "x".repeat(*bytes))
            }
        }
    }

    fn append(&mut self, arrays: &[Vec<Publication>]) {
        let mut waiting = VecDeque::new();
        let mut data = Vec::new();
        for (ticket, array) in arrays.iter().enumerate() {
            let texts: Vec<String> = array.iter().map(|publication| self.data(publication)).collect();
            let events = array
                .iter()
                .zip(&texts)
                .map(|(publication, data)| {
                    let topic = format!("topic {}", publication.topic);
                    match publication.id {
                        Some(id) => event_with_id(&topic, &format!("id {id}"), data),
                        None => event(&[&topic], data),
                    }
                })
                .collect();
            waiting.push_back((Array::new(events, &self.fingerprints), ticket));
            data.push(texts);
        }
        while !waiting.is_empty() {
            let left = waiting.len();
            let before = self.shown.len();
            let Opened { committer, times, .. } = self.log.as_mut().expect("open");
            let moment = times.moment();
            let answers = committer.commit(&mut waiting, &moment);
            assert!(waiting.len() < left, "it takes at least one");
            self.shown.extend(committer.committed().iter().map(Seen::new));
            assert!(self.shown.last().is_none_or(|last| last.id.ms <= moment.id_ms_max), "an id above the floor");
            assert!(self.shown.is_sorted_by(|a, b| a.id < b.id), "ids increase");
            for (ticket, answer) in answers {
                self.judge(&arrays[ticket], &data[ticket], &answer, before);
            }
        }
    }

    /// Compares an answer with what the model would say; what lies in `shown` from `before` on
    /// was committed with it.
    fn judge(&mut self, array: &[Publication], data: &[String], answer: &Answer, before: usize) {
        let ids = array.iter().filter_map(|publication| Some((publication.topic, publication.id?)));
        let is_vague = ids.filter_map(|key| self.known.get(&key)).any(|known| known.has_expired && self.is_live(known));
        let mut known = self.known.clone();
        let conflict = array.iter().enumerate().find_map(|(index, publication)| {
            let key = (publication.topic, publication.id?);
            let live = known.get(&key).filter(|known| self.is_live(known)).cloned();
            match live {
                Some(known) => (known.variant != publication.variant).then_some((index, known.id)),
                None => {
                    known.insert(key, self.known_now(HubId::ZERO, publication.variant));
                    None
                }
            }
        });
        match answer {
            Ok(ids) => {
                assert!(conflict.is_none() || is_vague, "{array:?}");
                assert_eq!(ids.len(), array.len());
                for ((publication, data), &id) in array.iter().zip(data).zip(ids) {
                    let place = self.shown.binary_search_by_key(&id, |seen| seen.id).expect("answered, so shown");
                    assert_eq!(&self.shown[place].data, data);
                    let Some(key) = publication.id.map(|id| (publication.topic, id)) else {
                        assert!(place >= before);
                        continue;
                    };
                    match self.known.get(&key).filter(|known| self.is_live(known)) {
                        Some(known) if id == known.id => {}
                        Some(known) if !known.has_expired => panic!("{id} was published before as {}", known.id),
                        _ => {
                            assert!(place >= before, "not published before");
                            self.known.insert(key, self.known_now(id, publication.variant));
                        }
                    }
                }
            }
            Err(AppendError::IdConflict { index, first }) => {
                assert!(conflict == Some((*index, *first)) || is_vague, "{answer:?} and not {conflict:?}");
            }
            Err(AppendError::Unknown) => self.unknown.push(data.to_vec()),
            Err(
                AppendError::TooLarge { .. }
                | AppendError::NoSpace
                | AppendError::NoSegment { .. }
                | AppendError::Failed { .. },
            ) => {
                assert!(conflict.is_none() || is_vague || matches!(answer, Err(AppendError::Failed { .. })));
                self.refused.extend(data.iter().filter(|data| data.starts_with('#')).cloned());
            }
            Err(AppendError::Busy | AppendError::Closed) => unreachable!("there is no queue here"),
        }
    }

    fn known_now(&self, id: HubId, variant: bool) -> Known {
        Known { id, variant, time_ms: self.now_ms(), has_expired: false }
    }

    fn is_live(&self, known: &Known) -> bool {
        self.now_ms().saturating_sub(known.time_ms) < WINDOW.window_ms
    }

    fn try_open(&mut self) -> Result<Opened<SimDisk>, OpenError> {
        open::open(self.disk.clone(), &opening(&self.clock), &self.fingerprints)
    }

    /// Starts again, and compares what is there with what was shown.
    fn open(&mut self) {
        let log = self.try_open().expect("opened");
        let shelf = log.committer.shelf();
        let low_water = shelf.low_water();
        assert!(low_water >= self.low_water);
        let mut found = Vec::new();
        let mut times = Vec::new();
        let mut cursor = FileCursor::after(shelf, HubId::ZERO).expect("a segment");
        while cursor.advance().expect("read").is_some() {
            let record = cursor.record().expect("whole");
            found.push(Seen::new(&record));
            times.push(record.retention_ms());
        }
        assert_eq!(shelf.head(), found.last().map_or(low_water, |last| last.id));
        let below = self.shown.partition_point(|seen| seen.id <= low_water);
        let kept = &self.shown[below..];
        assert!(found.len() >= kept.len(), "{} of {} shown events are there", found.len(), kept.len());
        assert_eq!(found[..kept.len()], *kept, "what was shown is there");

        // What else is there was under way, and arrays are there as a whole.
        let more: Vec<&Seen> = found[kept.len()..].iter().collect();
        let texts: HashSet<&String> = more.iter().map(|seen| &seen.data).collect();
        assert!(texts.iter().all(|data| !self.refused.contains(*data)), "a refused event is there");
        assert!(texts.iter().all(|data| self.unknown.iter().flatten().any(|unknown| unknown == *data)), "invented");
        for array in &self.unknown {
            let unkeyed: Vec<&String> = array.iter().filter(|data| data.starts_with('#')).collect();
            let there = unkeyed.iter().filter(|data| texts.contains(*data)).count();
            assert!(there == 0 || there == unkeyed.len(), "half an array is there");
        }
        self.log = Some(log);
        // What was not there at this start never comes.
        let gone = self.unknown.drain(..).flatten().filter(|data| data.starts_with('#') && !texts.contains(data));
        self.refused.extend(gone);
        self.known.retain(|_, known| known.id > low_water);
        for (seen, time_ms) in found.iter().zip(times).skip(kept.len()) {
            if let [topic, id, variant] = seen.data.split(' ').collect::<Vec<_>>()[..]
                && !seen.data.starts_with('#')
            {
                let parse = |text: &str| text.parse().expect("a number");
                let mut known = Known { time_ms, ..self.known_now(seen.id, variant == "true") };
                known.has_expired = !self.is_live(&known);
                self.known.insert((parse(topic), parse(id)), known);
            }
        }
        self.shown.truncate(below);
        self.shown.extend(found);
        self.low_water = low_water;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_disk_what_was_shown_stays_and_what_was_refused_is_never_seen(
        steps in prop::collection::vec(step(), 1..25)
    ) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.step(Step::Restart);
    }

    /// The very first start may be interrupted too.
    #[test]
    fn a_start_in_an_empty_folder_can_be_interrupted_anywhere(
        interruptions in prop::collection::vec(interruption(), 1..4)
    ) {
        let mut disk = SimDisk::default();
        let open = |disk: &SimDisk, log_id: &[u8; 16]| {
            let opening = Opening { new_log_id: *log_id, ..opening(&TestClock::at(10_000)) };
            open::open(disk.clone(), &opening, &Fingerprints::default())
        };
        for interruption in interruptions {
            interruption.plan(&disk);
            drop(open(&disk, b"a log of a test."));
            disk = disk.restart(interruption.outage.into());
        }
        let Opened { committer, recovery, .. } = open(&disk, b"another in place").expect("opened");
        prop_assert_eq!(recovery.records, 0);
        prop_assert_eq!(committer.shelf().head(), HubId { ms: 10_000, seq: 0 });
    }
}
