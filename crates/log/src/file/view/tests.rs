use std::sync::Arc;

use proptest::prelude::*;

use super::super::layout::{SegmentHeader, parse_segment_name, segment_name};
use super::super::{Durability, FileLog, FileLogConfig, Outage, SimDisk};
use super::*;
use crate::testing::{Seen, TestClock, append, begin_append, event, eventually, read_all, try_append, wait};
use crate::{AppendError, Clock, Erase, EventLog, ExportConfig, MemoryLog, MemoryLogConfig, RecordView};

const BEGINNING: u64 = 1_000_000;

fn open_log_with(disk: &SimDisk, config: FileLogConfig) -> FileLog<SimDisk> {
    let config = FileLogConfig { segment_bytes: 4096, ..config };
    FileLog::open(disk.clone(), &config, TestClock::at(BEGINNING)).expect("opened").0
}

fn open_log(disk: &SimDisk) -> FileLog<SimDisk> {
    open_log_with(disk, FileLogConfig::default())
}

fn view(disk: &SimDisk) -> LogView<SimDisk> {
    LogView::open(disk.clone()).expect("a log")
}

/// A visitor for which nothing may be wrong.
#[derive(Default)]
struct Shown(Vec<Seen>);

impl Visitor for Shown {
    type Error = io::Error;

    fn record(&mut self, record: &RecordView<'_>) -> io::Result<()> {
        self.0.push(Seen::new(record));
        Ok(())
    }

    fn damage(&mut self, file: &str, position: u64, what: &'static str) {
        panic!("{file} at {position}: {what}");
    }

    fn removed(&mut self, low_water: HubId) {
        panic!("removed through {low_water}");
    }

    fn progress(&mut self, _: u64) {}

    fn group(&mut self, _: u64) {}
}

fn shown(view: &LogView<SimDisk>) -> Vec<Seen> {
    let mut shown = Shown::default();
    view.walk(HubId::ZERO, &mut shown).expect("read");
    shown.0
}

fn verify(view: &LogView<SimDisk>) -> Verification {
    let mut bytes = 0;
    let found = view.verify(&mut |more| bytes += more).expect("read");
    assert_eq!(bytes, view.bytes(), "progress ends at the end");
    found
}

/// Events of about 300 bytes, some of them in arrays.
fn publish(log: &dyn EventLog, arrays: usize) -> Vec<HubId> {
    let array = |n: usize| (0..=n % 3).map(|part| event(&["t"], &format!("{n} {part} {}", "x".repeat(200)))).collect();
    (0..arrays).flat_map(|n| append(log, array(n))).collect()
}

/// A log of several segments that was closed, and its events.
fn closed_log(arrays: usize) -> (SimDisk, Vec<Seen>) {
    let disk = SimDisk::default();
    let log = open_log(&disk);
    publish(&log, arrays);
    let all = read_all(&log);
    drop(log);
    (disk, all)
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| parse_segment_name(name).is_some()).collect()
}

#[test]
fn a_folder_is_read_without_a_lock_or_a_write() {
    let (disk, all) = closed_log(30);
    let disk = disk.restart(Outage::Kill);
    let view = view(&disk);
    assert_eq!(view.usage(), Usage::Stopped);
    assert_eq!(shown(&view), all);
    let found = verify(&view);
    assert!(found.is_whole(), "{found:?}");
    assert_eq!((found.events, found.groups, found.torn_bytes), (all.len() as u64, 30, 0));
    assert_eq!((found.first, found.last), (Some(all[0].id), Some(all[all.len() - 1].id)));
    view.inspect().expect("read");
    assert_eq!(disk.operations(), 0);
    assert!(disk.lock().expect("no failure").is_some());
}

#[test]
fn a_running_hubs_folder_is_shown_as_it_was_committed_when_it_was_looked_at() {
    let disk = SimDisk::default();
    let log = open_log(&disk);
    let empty = view(&disk);
    publish(&log, 20);
    let before = read_all(&log);
    let earlier = view(&disk);
    assert_eq!(earlier.usage(), Usage::Running);
    publish(&log, 20);
    assert_eq!(shown(&empty), []);
    assert_eq!(shown(&earlier), before);
    assert_eq!(shown(&view(&disk)), read_all(&log));
    assert!(verify(&earlier).is_whole());
}

/// The story: a hub that commits notes how far, over what it noted before. A look at that moment saw half of it, and an
/// export beside a busy hub failed.
#[test]
fn a_note_that_is_half_written_is_looked_at_again() {
    let disk = SimDisk::default();
    let log = open_log(&disk);
    publish(&log, 5);
    disk.tear_notes(3);
    let view = view(&disk);
    assert_eq!((view.usage(), shown(&view)), (Usage::Running, read_all(&log)));
    disk.tear_notes(u32::MAX);
    assert!(matches!(LogView::open(disk.clone()), Err(ViewError::NotReady)));
}

/// What was written and not synced lies in the file as if it were there. Its publishers were refused, or were
/// never answered: it is not shown while the hub runs, which has not shown it either.
#[test]
fn what_could_not_be_committed_is_not_shown() {
    let disk = SimDisk::default();
    let log = open_log(&disk);
    publish(&log, 5);
    let committed = read_all(&log);
    disk.fail_sync_after(0);
    let refused = try_append(&log, vec![event(&["t"], "refused")]);
    assert!(matches!(refused, Err(AppendError::NotWritten { .. })), "{refused:?}");
    assert_eq!(shown(&view(&disk)), committed);
    // What is written behind it cannot be refused for good: no later sync succeeds.
    disk.fail_syncs(0, u64::MAX);
    assert_eq!(try_append(&log, vec![event(&["t"], "not synced")]), Err(AppendError::Unknown));
    let running = view(&disk);
    assert_eq!(shown(&running), committed);
    assert!(verify(&running).is_whole());
    // Nobody has it open any more: now it is what the next start will show.
    drop(log);
    assert_eq!(shown(&view(&disk)).len(), committed.len() + 1);
}

#[test]
fn what_a_crash_left_half_written_is_no_damage() {
    let (disk, all) = closed_log(10);
    let name = segments(&disk).pop().expect("there");
    let mut bytes = disk.contents(&name).expect("there");
    let used = bytes.iter().rposition(|&byte| byte != 0).expect("written") + 1;
    bytes[used..used + 7].copy_from_slice(b"TWGR\x01\x02\x03");
    disk.put(&name, bytes);
    let view = view(&disk);
    assert_eq!(shown(&view), all);
    let found = verify(&view);
    assert_eq!((found.is_whole(), found.torn_bytes), (true, 7));
}

#[test]
fn a_folder_that_is_being_opened_holds_no_log_or_is_imported_says_so() {
    let disk = SimDisk::default();
    assert!(matches!(LogView::open(disk.clone()), Err(ViewError::NoLog)));
    disk.put(IMPORTING, vec![]);
    assert!(matches!(LogView::open(disk.clone()), Err(ViewError::Importing)));
    let (disk, _) = closed_log(1);
    let lock = disk.lock().expect("no failure").expect("free");
    assert!(matches!(LogView::open(disk.clone()), Err(ViewError::NotReady)));
    drop(lock);
    let mut manifest = disk.contents(MANIFEST).expect("there");
    manifest[40] ^= 1;
    disk.put(MANIFEST, manifest);
    assert!(matches!(LogView::open(disk), Err(ViewError::Damaged)));
}

#[test]
fn under_a_hub_in_memory_lies_what_was_there_before() {
    let (disk, all) = closed_log(10);
    let clock = TestClock::at(BEGINNING) as Arc<dyn Clock>;
    let memory = MemoryLog::open(disk.clone(), &MemoryLogConfig::default(), clock).expect("opened");
    append(&memory, vec![event(&["t"], "in memory")]);
    let view = view(&disk);
    assert_eq!(view.usage(), Usage::InMemory);
    assert_eq!(shown(&view), all);
    assert_eq!(view.inspect().expect("read").state, "open-memory");
}

#[test]
fn reading_goes_on_at_the_new_mark_when_segments_are_removed_meanwhile() {
    let disk = SimDisk::default();
    let config = FileLogConfig { retention_bytes: 40 << 10, ..FileLogConfig::default() };
    let log = open_log_with(&disk, config);
    publish(&log, 60);
    let old = view(&disk);
    let all = shown(&old);
    let removed = || log.low_water() > all[all.len() / 3].id;
    let mut published = 0;
    eventually("segments are removed", || {
        if !removed() {
            publish(&log, 1);
            published += 1;
        }
        removed()
    });
    let found = verify(&old);
    let mark = found.removed_through.expect("told");
    assert!(found.is_whole(), "{found:?}");
    let left = all.iter().filter(|seen| seen.id > mark).count() as u64;
    assert_eq!(found.events, left);
    let mut lines = Vec::new();
    let summary = old.export(&ExportConfig::default(), 0, &mut lines, &mut |_| {}).expect("exported");
    assert_eq!(summary.events, left);
    assert!(!summary.met_damage());
    assert_eq!(summary.left_out.len(), 1);
    assert_eq!((&*summary.left_out[0].why, summary.left_out[0].before), ("expired", summary.first));
}

#[test]
fn an_inspection_has_every_segment_and_what_is_beside_it() {
    let (disk, all) = closed_log(40);
    disk.put(&format!("{:020}.idx", 1), vec![0; 77]);
    disk.put("notes.txt", vec![0; 5]);
    let found = view(&disk).inspect().expect("read");
    assert_eq!((found.state, found.used_by, found.events), ("closed", "nobody", all.len() as u64));
    assert_eq!(found.head, all[all.len() - 1].id);
    assert!(found.other_files.contains(&("notes.txt".to_owned(), 5)));
    assert_eq!(found.epochs.len(), 1);
    assert_eq!(found.segments.len(), segments(&disk).len());
    assert_eq!(found.segments[0].index_bytes, Some(77));
    let mut next = 1;
    for segment in &found.segments {
        assert_eq!(segment.first_sequence, next);
        next = segment.last_sequence.expect("known") + 1;
        let first = usize::try_from(segment.first_sequence).expect("small") - 1;
        assert_eq!(segment.first_id, Some(all[first].id));
        assert_eq!(segment.last_id, Some(all[usize::try_from(next).expect("small") - 2].id));
        assert!(segment.used_bytes.is_some_and(|used| (3000..=4096).contains(&used) || next > all.len() as u64));
        assert_eq!((segment.file_bytes, &segment.problem), (4096, &None));
    }
    disk.take(&segments(&disk)[1]);
    let found = view(&disk).inspect().expect("read");
    assert_eq!(found.segments[1].problem.as_deref(), Some("the segment before it is missing"));
}

/// Changes the header of a segment, and makes its checksum right again.
fn change_header(disk: &SimDisk, name: &str, change: impl FnOnce(&mut SegmentHeader)) {
    let mut bytes = disk.contents(name).expect("there");
    let mut header = SegmentHeader::decode(bytes.first_chunk().expect("long enough")).expect("whole");
    change(&mut header);
    bytes[..128].copy_from_slice(&header.encode());
    disk.put(name, bytes);
}

#[test]
fn each_rule_of_segments_and_manifest_is_checked() {
    type Breaks = fn(&SimDisk, &str);
    let broken: [(&str, Breaks); 10] = [
        ("the segment before it is missing", |disk, name| disk.take(name)),
        ("it belongs to another log", |disk, name| change_header(disk, name, |header| header.log_id = [9; 16])),
        ("its header has another sequence than its name", |disk, name| {
            change_header(disk, name, |header| header.first_sequence += 1);
        }),
        ("its header contradicts itself", |disk, name| {
            change_header(disk, name, |header| header.before.sequence += 1);
        }),
        ("the file is not as long as its header says", |disk, name| {
            change_header(disk, name, |header| header.file_bytes += 1);
        }),
        ("a group's header contradicts what is around it", |disk, name| {
            change_header(disk, name, |header| header.before.length -= 1);
        }),
        ("what its header says of the segment before it is not so", |disk, name| {
            change_header(disk, name, |header| header.before.id.seq -= 1);
        }),
        ("its header is not whole", |disk, name| {
            let mut bytes = disk.contents(name).expect("there");
            bytes[50] ^= 1;
            disk.put(name, bytes);
        }),
        ("a record's id lies above the floor of the manifest", |disk, _| {
            let mut manifest = Manifest::read(disk).expect("there");
            manifest.times.floor_ms = BEGINNING - 1;
            manifest.write(disk).expect("written");
        }),
        ("its epochs do not follow one another", |disk, _| {
            let mut manifest = Manifest::read(disk).expect("there");
            manifest.epochs.push(manifest.epochs[0].clone());
            manifest.write(disk).expect("written");
        }),
    ];
    for (what, breaks) in broken {
        let (disk, all) = closed_log(40);
        breaks(&disk, &segments(&disk)[2]);
        let found = verify(&view(&disk));
        assert!(found.damages.iter().any(|damage| damage.what == what), "{what}: {found:?}");
        assert!(found.events >= all.len() as u64 - 20, "{what}: the rest is read");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever byte is changed of what was acknowledged: it is found, in its file, and every event but those
    /// between the last good and the next good id is read.
    #[test]
    fn a_changed_byte_is_found_with_the_ids_around_it(at in any::<prop::sample::Index>(), bit in 0..8, bytes in 1..40_usize) {
        let (disk, all) = closed_log(40);
        let names = segments(&disk);
        // Of the last group, no other says that it is durable.
        let used: Vec<usize> = view(&disk).inspect().expect("read").segments[..names.len() - 1]
            .iter()
            .map(|segment| usize::try_from(segment.used_bytes.expect("known")).expect("small"))
            .collect();
        let mut at = at.index(used.iter().sum());
        let mut n = 0;
        while at >= used[n] {
            at -= used[n];
            n += 1;
        }
        let mut contents = disk.contents(&names[n]).expect("there");
        let end = (at + bytes).min(used[n]);
        contents[at..end].iter_mut().for_each(|byte| *byte ^= 1_u8 << bit);
        disk.put(&names[n], contents);

        let found = verify(&view(&disk));
        prop_assert!(!found.is_whole());
        let is_near = |damage: &Finding| damage.file == names[n] && damage.position <= end as u64 || damage.file == names[n + 1];
        prop_assert!(found.damages.iter().any(is_near), "{:?}", found.damages);
        let is_lost = |seen: &&Seen| found.damages.iter().any(|damage| {
            seen.id > damage.after && damage.before.is_none_or(|before| seen.id < before)
        });
        let lost = all.iter().filter(is_lost).count() as u64;
        prop_assert_eq!(found.events + lost, all.len() as u64);
        prop_assert!(lost <= 4, "one group of at most three, or none: {} lost", lost);
        for damage in &found.damages {
            prop_assert!(damage.lost.is_none_or(|lost| lost <= 4));
        }
    }
}

/// Groups that are written while the folder is looked at are never half seen.
#[test]
fn a_view_beside_a_publishing_hub_is_always_whole() {
    let disk = SimDisk::default();
    let log = Arc::new(open_log(&disk));
    let publisher = std::thread::spawn({
        let log = Arc::clone(&log);
        move || (0..300).for_each(|n| assert!(wait(&begin_append(&*log, vec![event(&["t"], &n.to_string())])).is_ok()))
    });
    while !publisher.is_finished() {
        let least = read_all(&*log).len();
        let view = view(&disk);
        let shown = shown(&view);
        assert!(shown.len() >= least, "what was acknowledged is shown");
        assert_eq!(shown[..], read_all(&*log)[..shown.len()]);
    }
    publisher.join().expect("ran");
    assert_eq!(segment_name(1), segments(&disk)[0]);
}

/// Only the hundred newest epochs are in the manifest. Where an older one had begun between two segments, the header
/// of the second was called wrong.
#[test]
fn epochs_that_the_manifest_has_forgotten_are_no_damage() {
    let disk = SimDisk::default();
    let mut all = Vec::new();
    for boot in 0..110_u8 {
        let config = FileLogConfig { durability: Durability::Os, boot_id: [boot + 1; 16], ..FileLogConfig::default() };
        let log = open_log_with(&disk.restart(Outage::Kill), config);
        // With a segment that is full, the next one begins with the epoch.
        publish(&log, 6);
        all = read_all(&log);
        std::mem::forget(log);
    }
    let disk = disk.restart(Outage::Kill);
    let view = view(&disk);
    assert_eq!(view.manifest.epochs.len(), 100);
    let begun = view.segments.windows(2).filter(|pair| {
        let (before, after) = (pair[0].before().expect("whole"), pair[1].before().expect("whole"));
        let last = all.iter().map(|seen| seen.id).filter(|id| (before..=after).contains(id)).max();
        last.is_some_and(|last| last < after)
    });
    assert!(begun.count() > 10, "epochs begin between segments");
    let found = verify(&view);
    assert!(found.is_whole(), "{found:?}");
}

/// Takes lines, and does something after each.
struct Lines<F>(Vec<u8>, F);

impl<F: FnMut(usize)> io::Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        let lines = self.0.iter().filter(|&&byte| byte == b'\n').count();
        (self.1)(lines);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a hub erases while its folder is read was shown with its data, as it had been when the folder was looked at.
#[test]
fn what_is_erased_after_the_folder_was_looked_at_is_not_shown() {
    let disk = SimDisk::default();
    let log = open_log(&disk);
    publish(&log, 30);
    let all = read_all(&log);
    assert!(segments(&disk).len() > 4);
    let erased = [all[2].id, all[all.len() - 1].id, all[all.len() - 2].id];
    let erase = |n: usize| assert_eq!(log.erase(&Erase::Event(erased[n])).expect("erased").events, Some(1));
    erase(0);
    let view = view(&disk);
    erase(1);
    let left = |count: usize| -> Vec<Seen> {
        all.iter().filter(|seen| !erased[..count].contains(&seen.id)).cloned().collect()
    };
    assert_eq!(shown(&view), left(2));
    assert!(verify(&view).is_whole());
    let mut lines = Lines(Vec::new(), |line| match line {
        3 => erase(2),
        // What is forgotten after it was removed may be open here.
        20 => disk.take(TOMBSTONES),
        _ => {}
    });
    let summary = view.export(&ExportConfig::default(), 0, &mut lines, &mut |_| {}).expect("exported");
    assert_eq!((summary.events, summary.last), (left(3).len() as u64, left(3).last().map(|seen| seen.id)));
    assert!(summary.left_out.is_empty(), "erased events leave no trace: {:?}", summary.left_out);
    assert_eq!(shown(&view), left(1), "what was read when the folder was looked at stays known");
}
