//! Random runs of the file log on a failing disk, against a naive model: a vector of what was
//! shown. The runs go through the same steps as the log's thread, without the thread.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use self::erasing::Erased;
use self::steps::{Cut, Publication, Run, Step, durability, interruption, step};
use super::batch::Sync;
use super::committer::Committer;
use super::cursor::FileCursor;
use super::keeper::Retention;
use super::open::{self, Durability, Opened, Opening};
use super::open_error::OpenError;
use super::picks::Wanted;
use super::segments::fill_ahead;
use super::sim_faults::Random;
use super::{Outage, SimDisk, SimFile};
use crate::HubId;
use crate::cursor::{self, RecordCursor};
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::{Seen, TestClock, event, event_with_id};

mod erasing;
mod judge;
mod steps;

const WINDOW_MS: u64 = 5_000;
const SEGMENT_BYTES: u64 = 4096;
const RETENTION: Retention = Retention { bytes: 4 * SEGMENT_BYTES, age_ms: 400_000 };

fn opening(clock: &Arc<TestClock>) -> Opening {
    Opening {
        segment_bytes: SEGMENT_BYTES,
        retention: RETENTION,
        window_ms: WINDOW_MS,
        erase_within: Duration::ZERO,
        ..super::tests::opening(Arc::clone(clock))
    }
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

struct Model {
    disk: SimDisk,
    log: Option<Opened<SimDisk, usize>>,
    durability: Durability,
    /// Starts of the machine.
    boots: u8,
    fingerprints: Fingerprints,
    clock: Arc<TestClock>,
    counter: u64,
    /// Everything that was ever shown, in order, but for what a power cut took with `os`.
    shown: Vec<Seen>,
    /// The last id that was ever shown.
    highest: HubId,
    /// The data of arrays of which nobody knows whether they are there.
    unknown: Vec<Vec<String>>,
    /// Data that must never be seen.
    refused: HashSet<String>,
    known: HashMap<(u8, u8), Known>,
    erased: Erased,
    low_water: HubId,
}

/// What a reader meets.
#[derive(Default)]
struct Read {
    seen: Vec<Seen>,
    /// The retention clock of each.
    times: Vec<u64>,
    hidden: Vec<HubId>,
    /// The last id, also of what is hidden.
    last: Option<HubId>,
}

/// Where a sync stands.
enum Turn {
    Free,
    Begun(Sync<SimFile>),
    Over(io::Result<()>),
}

impl Model {
    fn new(durability: Durability) -> Model {
        let mut model = Model {
            disk: SimDisk::default(),
            log: None,
            durability,
            boots: 0,
            fingerprints: Fingerprints::default(),
            clock: TestClock::at(10_000),
            counter: 0,
            shown: Vec::new(),
            highest: HubId::ZERO,
            unknown: Vec::new(),
            refused: HashSet::new(),
            known: HashMap::new(),
            erased: Erased::default(),
            low_water: HubId::ZERO,
        };
        model.open(None);
        model
    }

    fn log(&mut self) -> &mut Opened<SimDisk, usize> {
        self.log.as_mut().expect("open")
    }

    fn committer(&mut self) -> &mut Committer<SimDisk, usize> {
        &mut self.log().committer
    }

    /// The retention clock, by which the window goes.
    fn retention_ms(&self) -> u64 {
        self.log.as_ref().expect("open").times.moment().retention_ms
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(run) => self.append(&run),
            Step::Trim => {
                let Opened { committer, times, keeper, .. } = self.log();
                committer.tend(&times.moment());
                // The disk may fail.
                keeper.trim().unwrap_or_default();
                self.low_water = self.committer().shelf().low_water();
                // What is gone is forgotten, or will be at the next start.
                let low_water = self.low_water;
                let gone = self.known.values_mut().filter(|known| known.id <= low_water);
                gone.for_each(|known| known.has_expired = true);
                self.note_sealed();
            }
            // The disk may fail.
            Step::Index => while self.log().keeper.indexer.turn().unwrap_or_default() {},
            Step::Keep => self.log().keeper.ledger.keep_times().unwrap_or_default(),
            Step::Ahead => self.make_spare(),
            Step::Erase { pick, topic } => self.erase(pick, topic),
            Step::Sweep => self.sweep(),
            Step::Clock(now_ms) => {
                self.clock.set(now_ms);
                let has_expired: Vec<_> =
                    self.known.iter().filter(|(_, known)| !self.is_live(known)).map(|(&key, _)| key).collect();
                for key in has_expired {
                    self.known.entry(key).and_modify(|known| known.has_expired = true);
                }
            }
            Step::Pass(ms) => self.clock.pass(ms),
            Step::Restart(seed, durability) => {
                let Opened { committer, keeper, .. } = self.log();
                let is_closed = committer.close() && keeper.ledger.close().is_ok();
                let outage = if is_closed { Outage::PowerCut(seed) } else { Outage::Kill };
                let epochs = is_closed.then(|| self.log().epochs.current);
                self.restart(outage);
                self.durability = durability;
                self.open(None);
                assert!(epochs.is_none_or(|epoch| epoch == self.log().epochs.current), "an epoch for nothing");
            }
            Step::Outage { after, run, erase, outage, interruptions } => {
                self.disk.stop_at(self.disk.operations() + 1 + after);
                self.append(&run);
                // These may be what is interrupted.
                self.make_spare();
                if let Some((pick, topic)) = erase {
                    self.erase(pick, topic);
                    self.sweep();
                }
                self.log().keeper.trim().unwrap_or_default();
                self.log().keeper.indexer.turn().unwrap_or_default();
                self.log().keeper.ledger.keep_times().unwrap_or_default();
                // With `os`, a power cut takes what lies behind what was synced: at least other segments are there.
                let segments = self.committer().shelf().segments();
                let synced = segments.last().expect("never empty").header.before.id;
                let mut lost = matches!(outage, Cut(Some(_))).then_some(synced);
                self.restart(outage.into());
                for interruption in interruptions {
                    interruption.plan(&self.disk);
                    drop(self.try_open());
                    if interruption.outage.0.is_some() {
                        lost.get_or_insert(synced);
                    }
                    self.restart(interruption.outage.into());
                }
                self.open(lost.filter(|_| self.durability == Durability::Os));
            }
            Step::FailSyncs { after, count, run } => {
                self.disk.fail_syncs(after, count);
                self.append(&run);
            }
            Step::FailWrites { after, count, run } => {
                self.disk.fail_writes(after, count);
                self.append(&run);
            }
            Step::Full { more, run } => {
                let used: usize =
                    self.disk.names().iter().map(|name| self.disk.contents(name).map_or(0, |bytes| bytes.len())).sum();
                self.disk.set_space(Some(used as u64 + more));
                self.append(&run);
                self.disk.set_space(None);
            }
            Step::ReadOnly(run) => {
                self.disk.set_read_only(true);
                self.append(&run);
                self.disk.set_read_only(false);
            }
            Step::Heal => {
                self.disk.fail_syncs(0, 0);
                self.disk.fail_writes(0, 0);
                self.clock.pass(1_000);
                let before = self.shown.len();
                let publication = Publication { topic: 0, id: None, variant: false, bytes: 10 };
                let run = Run { arrays: vec![vec![publication]], schedule: 0 };
                self.append(&run);
                if self.shown.len() == before {
                    // It may have been told only now that a sync of the sweep has failed.
                    self.clock.pass(1_000);
                    self.append(&run);
                }
                assert_eq!(self.shown.len(), before + 1, "the disk is well, and the log takes nothing");
            }
        }
    }

    fn restart(&mut self, outage: Outage) {
        self.disk = self.disk.restart(outage);
        self.boots += u8::from(matches!(outage, Outage::PowerCut(_)));
    }

    /// As the log's threads do it.
    fn make_spare(&mut self) {
        let segments = self.committer().segments();
        if segments.wants_spare().is_some()
            && let Ok(spare) = fill_ahead(&**segments.disk(), SEGMENT_BYTES)
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

    fn append(&mut self, run: &Run) {
        let mut data = Vec::new();
        let mut coming = VecDeque::new();
        for (ticket, array) in run.arrays.iter().enumerate() {
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
            let mut array = Array::new(events, &self.fingerprints);
            if ticket % 2 == 0 {
                // Where this fails, it is done again when the array's turn comes.
                self.log().lookup.look_up(&mut array).unwrap_or_default();
            }
            coming.push_back((array, ticket));
            data.push(texts);
        }
        // The steps of two threads, in an order that the schedule gives.
        let mut random = Random(run.schedule);
        let mut waiting = VecDeque::new();
        let mut turn = Turn::Free;
        let mut unanswered: HashSet<usize> = (0..data.len()).collect();
        loop {
            if random.below(3) == 0 {
                let Some((mut array, ticket)) = coming.pop_front() else { continue };
                match self.log().lookup.look_up(&mut array) {
                    Ok(()) => waiting.push_back((array, ticket)),
                    Err(error) => {
                        assert!(unanswered.remove(&ticket), "answered twice");
                        self.judge(&run.arrays[ticket], &data[ticket], &Err(error), self.shown.len());
                    }
                }
                continue;
            }
            let Opened { committer, keeper, times, .. } = self.log.as_mut().expect("open");
            if random.below(8) == 0 {
                keeper.indexer.turn().unwrap_or_default();
            }
            let moment = times.moment();
            if random.below(2) == 0 {
                committer.write(&mut waiting, &moment);
                continue;
            }
            turn = match turn {
                Turn::Free => match committer.begin_sync() {
                    Some(sync) => Turn::Begun(sync),
                    None if coming.is_empty() && waiting.is_empty() => break,
                    None => Turn::Free,
                },
                Turn::Begun(sync) => Turn::Over(sync.run()),
                Turn::Over(synced) => {
                    let before = self.shown.len();
                    let finished = committer.finish(synced, &moment);
                    let records = finished.groups.iter().flat_map(super::group::Group::records);
                    self.shown.extend(records.map(|record| Seen::new(&record)));
                    committer.take_back(finished.groups);
                    assert!(self.shown[before..].is_sorted_by(|a, b| a.id < b.id), "ids increase");
                    assert!(self.shown.get(before).is_none_or(|first| first.id > self.highest), "an id comes again");
                    self.highest = self.highest.max(self.shown.last().map_or(HubId::ZERO, |last| last.id));
                    assert!(self.highest.ms <= moment.id_ms_max, "an id above the floor");
                    for (ticket, answer) in finished.answers {
                        assert!(unanswered.remove(&ticket), "answered twice");
                        self.judge(&run.arrays[ticket], &data[ticket], &answer, before);
                    }
                    self.note_sealed();
                    Turn::Free
                }
            };
        }
        assert!(unanswered.is_empty(), "not answered: {unanswered:?}");
        if let Ok(found) = self.read() {
            let low_water = self.committer().shelf().low_water();
            let below = self.shown.partition_point(|seen| seen.id <= low_water);
            assert_eq!(found.seen, self.shown[below..], "readers see something else");
            self.check_hidden(&found.seen, &found.hidden);
        }
    }

    /// Once a segment has been sealed, what failed in it never comes.
    fn note_sealed(&mut self) {
        if self.committer().refusal().is_none() {
            let gone = self.unknown.drain(..).flatten().filter(|data| data.starts_with('#'));
            self.refused.extend(gone);
        }
    }

    /// What a reader sees. Only a machine that has stopped cannot be read.
    fn read(&mut self) -> Result<Read, crate::ReadError> {
        let mut found = Read::default();
        let mut heads = Vec::new();
        let mut last_sequence = None;
        let Opened { committer, visibility, .. } = self.log.as_ref().expect("open");
        let mut cursor = FileCursor::after(committer.shelf(), HubId::ZERO, Wanted::All).expect("a segment");
        while let Some(step) = cursor.advance()? {
            assert_eq!(step, cursor::Step::Record, "nothing is damaged");
            let head = cursor.head()?;
            assert!(last_sequence.is_none_or(|last| head.sequence == last + 1), "a hole in the sequences");
            last_sequence = Some(head.sequence);
            heads.push((head.id, head.topics().map(str::to_owned).collect::<Vec<_>>()));
            if visibility.hides(&head).is_some() {
                found.hidden.push(head.id);
                continue;
            }
            let record = cursor.record()?.expect("whole");
            found.seen.push(Seen::new(&record));
            found.times.push(record.retention_ms());
        }
        for topic in (0..3).map(|topic| format!("topic {topic}")) {
            let wanted = Wanted::Topics(vec![&topic]);
            let mut cursor = FileCursor::after(committer.shelf(), HubId::ZERO, wanted).expect("a segment");
            let mut picked = Vec::new();
            while let Some(head) = cursor.next_head()? {
                picked.extend(head.topics().any(|bears| bears == topic).then_some(head.id));
            }
            let bears = heads.iter().filter(|(_, topics)| topics.contains(&topic));
            assert_eq!(picked, bears.map(|(id, _)| *id).collect::<Vec<_>>(), "by the index");
        }
        found.last = heads.last().map(|(id, _)| *id);
        Ok(found)
    }

    fn known_now(&self, id: HubId, variant: bool) -> Known {
        Known { id, variant, time_ms: self.retention_ms(), has_expired: false }
    }

    fn is_live(&self, known: &Known) -> bool {
        self.retention_ms().saturating_sub(known.time_ms) < WINDOW_MS
    }

    fn try_open(&mut self) -> Result<Opened<SimDisk, usize>, OpenError> {
        let opening = Opening { durability: self.durability, boot_id: [self.boots; 16], ..opening(&self.clock) };
        open::open(self.disk.clone(), &opening, &self.fingerprints)
    }

    /// Starts again, and compares what is there with what was shown. What lies behind the place `lost` may be gone:
    /// the end of it.
    fn open(&mut self, lost: Option<HubId>) {
        let log = self.try_open().expect("opened");
        let shelf = Arc::clone(log.committer.shelf());
        let current = log.epochs.current;
        self.log = Some(log);
        let low_water = shelf.low_water();
        assert!(low_water >= self.low_water);
        let Read { seen: found, times, hidden, last } = self.read().expect("read");
        assert_eq!(shelf.head(), current.max(last.unwrap_or(low_water)));
        self.settle_erased(&hidden);
        self.check_hidden(&found, &hidden);
        let below = self.shown.partition_point(|seen| seen.id <= low_water);
        if let Some(synced) = lost {
            assert!(current > self.highest, "ids may come again");
            let kept = self.shown.partition_point(|seen| seen.id <= synced).max(below + found.len());
            let gone: Vec<Seen> = self.shown.drain(kept.min(self.shown.len())..).collect();
            self.refused.extend(gone.into_iter().map(|seen| seen.data).filter(|data| data.starts_with('#')));
            self.known.clear();
        }
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
        // What was not there at this start never comes.
        let gone = self.unknown.drain(..).flatten().filter(|data| data.starts_with('#') && !texts.contains(data));
        self.refused.extend(gone);
        self.known.retain(|_, known| known.id > low_water);
        for (seen, time_ms) in found.iter().zip(times).skip(if lost.is_some() { 0 } else { kept.len() }) {
            if let [topic, id, variant] = seen.data.split(' ').collect::<Vec<_>>()[..]
                && !seen.data.starts_with('#')
            {
                let parse = |text: &str| text.parse().expect("a number");
                let mut known = Known { time_ms, ..self.known_now(seen.id, variant == "true") };
                // With what was lost, the retention clock may have gone back.
                known.has_expired = lost.is_some() || !self.is_live(&known);
                self.known.insert((parse(topic), parse(id)), known);
            }
        }
        self.shown.truncate(below);
        self.shown.extend(found);
        self.highest = self.highest.max(self.shown.last().map_or(HubId::ZERO, |last| last.id));
        self.low_water = low_water;
        self.check_overwritten();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_to_the_disk_what_was_shown_stays_and_what_was_refused_is_never_seen(
        durability in durability(),
        steps in prop::collection::vec(step(), 1..25),
    ) {
        let mut model = Model::new(durability);
        for step in steps {
            model.step(step);
        }
        model.step(Step::Heal);
        model.step(Step::Restart(0, Durability::Commit));
    }

    /// The very first start may be interrupted too.
    #[test]
    fn a_start_in_an_empty_folder_can_be_interrupted_anywhere(
        interruptions in prop::collection::vec(interruption(), 1..4)
    ) {
        let mut disk = SimDisk::default();
        let open = |disk: &SimDisk, log_id: &[u8; 16]| {
            let opening = Opening { new_log_id: *log_id, ..opening(&TestClock::at(10_000)) };
            open::open::<_, ()>(disk.clone(), &opening, &Fingerprints::default())
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
