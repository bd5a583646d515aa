use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tidewire_topic::Topic;

use super::super::folder::IMPORTING;
use super::super::index::index_name;
use super::super::manifest::Manifest;
use super::super::tombstone_file::TOMBSTONES;
use super::super::{FileLog, FileLogConfig, LogView, OpenError, Outage, SimDisk};
use super::*;
use crate::testing::{TestClock, append, event, event_with_id, everything, shown};
use crate::{Clock, Data, EVENT_BYTES, Erase, EventLog, EventType, HubId, NewEvent, PublisherId, RecordView, Standing};

const BEGINNING: u64 = 1_000_000;

fn open_at(disk: &SimDisk, clock: &Arc<TestClock>) -> FileLog<SimDisk> {
    let config = FileLogConfig { segment_bytes: 8192, ..FileLogConfig::default() };
    FileLog::open(disk.clone(), &config, Arc::clone(clock) as Arc<dyn Clock>).expect("opened").0
}

fn open(disk: &SimDisk) -> FileLog<SimDisk> {
    open_at(disk, &TestClock::at(BEGINNING))
}

/// All that a record is, its sequence aside.
type Whole = (HubId, u64, u64, u16, Vec<u8>, Vec<u8>);

fn whole(record: &RecordView<'_>) -> Whole {
    let attributes = record.attributes().map(|(key, value)| format!("{key}={value};"));
    let said = [record.named().to_vec(), attributes.collect::<String>().into_bytes()].concat();
    (record.id, record.time_ms, record.retention_ms(), record.flags(), said, record.frame.to_vec())
}

fn all(log: &dyn EventLog) -> Vec<Whole> {
    let mut all = Vec::new();
    let mut visit = shown(|record: &RecordView<'_>| {
        all.push(whole(record));
        std::ops::ControlFlow::Continue(())
    });
    log.read(HubId::ZERO, &everything(), u64::MAX, &mut visit).expect("read");
    drop(visit);
    all
}

fn export(disk: &SimDisk) -> Vec<u8> {
    export_some(disk, &ExportConfig::default()).0
}

fn export_some(disk: &SimDisk, config: &ExportConfig) -> (Vec<u8>, ExportSummary) {
    let mut lines = Vec::new();
    let view = LogView::open(disk.clone()).expect("a log");
    let mut read = 0;
    let summary = view.export(config, 77, &mut lines, &mut |bytes| read += bytes).expect("exported");
    assert_eq!(summary.bytes, lines.len() as u64);
    assert!(config.from.is_some() || read == view.bytes());
    (lines, summary)
}

fn import_at(disk: &SimDisk, mut lines: &[u8], partial: bool, now_ms: u64) -> Result<ImportSummary, ImportError> {
    let config = ImportConfig { segment_bytes: 8192, partial };
    import(disk.clone(), &mut lines, &config, now_ms, &mut |_| {})
}

fn import_into(disk: &SimDisk, lines: &[u8], partial: bool) -> Result<ImportSummary, ImportError> {
    import_at(disk, lines, partial, BEGINNING)
}

fn is_whole(disk: &SimDisk) -> bool {
    LogView::open(disk.clone()).expect("a log").verify(&mut |_| {}).expect("read").is_whole()
}

fn any_event() -> impl Strategy<Value = NewEvent> {
    let topics = vec("[a-c]{1,3}|https://x\\.example/\\?q=é", 1..4);
    let data = prop_oneof!["\\PC{0,40}", "[a \r\n:]{0,20}", Just("x".repeat(3000))];
    let data = (data, any::<bool>()).prop_map(|(text, json)| if json { Data::Json(text) } else { Data::Text(text) });
    let names = (prop::option::of("[a-z]{1,8}"), prop::option::of("[A-Z \"\\\\]{1,9}"));
    let attributes = vec(("\\PC{0,5}", "[\u{0}-\u{20}a\"]{0,9}"), 0..3);
    (topics, data, names, prop::option::of(any::<u64>()), any::<bool>(), attributes).prop_map(
        |(topics, data, (id, event_type), retry_ms, private, attributes)| {
            let topics = topics.iter().map(|topic| Topic::parse(topic).expect("a topic")).collect();
            let mut event = NewEvent::new(topics, &data, EVENT_BYTES).expect("an event");
            if let Some(id) = id {
                event = event.with_publisher_id(PublisherId::parse(&id).expect("an id"));
            }
            if let Some(event_type) = event_type {
                event = event.with_type(EventType::parse(&event_type).expect("a type"));
            }
            if let Some(retry_ms) = retry_ms {
                event = event.with_retry_ms(retry_ms);
            }
            let event = if private { event.private() } else { event };
            attributes
                .iter()
                .fold(event, |event, (key, value)| event.with_attribute(key, value).expect("small attributes"))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// An imported log gives every event under the id and with the bytes it had, and exports the same lines.
    #[test]
    fn what_is_exported_comes_back_byte_for_byte(
        arrays in vec((vec(any_event(), 1..4), 0_u64..500), 0..25),
        restart in any::<bool>(),
    ) {
        let disk = SimDisk::default();
        let clock = TestClock::at(BEGINNING);
        let mut log = open_at(&disk, &clock);
        for (n, (array, passed_ms)) in arrays.into_iter().enumerate() {
            clock.set(clock.now_ms() + passed_ms);
            // A repeated publisher's id with other content is refused, which is no matter here.
            drop(crate::testing::try_append(&log, array));
            if restart && n == 10 {
                drop(log);
                log = open_at(&disk, &clock);
            }
        }
        let original = all(&log);
        // From the running hub's folder.
        let lines = export(&disk);
        let told_later = append(&log, vec![event(&["t"], "after the export")])[0];
        let floor_ms = Manifest::read(&disk).expect("whole").times.floor_ms;

        let copy = SimDisk::default();
        let summary = import_at(&copy, &lines, false, clock.now_ms()).expect("imported");
        prop_assert_eq!(summary.events, original.len() as u64);
        prop_assert!(is_whole(&copy));
        let imported = open_at(&copy, &clock);
        prop_assert_eq!(all(&imported), original.clone());
        prop_assert_eq!(imported.low_water(), log.low_water());
        // Every id of the old hub belongs to an epoch that is over.
        prop_assert_eq!(imported.standing(told_later), Standing::Earlier);
        for record in &original {
            prop_assert_eq!(imported.standing(record.0), Standing::Earlier);
        }
        let new = append(&imported, vec![event(&["t"], "new")])[0];
        prop_assert!(new.ms > floor_ms && new > summary.epoch.1, "{} above {}", new, floor_ms);
        let again = export(&copy);
        let events = |lines: &[u8]| -> Vec<String> {
            let lines = String::from_utf8(lines.to_vec()).expect("text");
            lines.lines().skip(1).take(original.len()).map(str::to_owned).collect()
        };
        prop_assert_eq!(events(&again), events(&lines));
    }
}

/// A log of twelve events, and its export.
fn twelve() -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::default();
    let log = open(&disk);
    for n in 0..12 {
        append(&log, vec![event_with_id(["even", "odd"][n % 2], &n.to_string(), &"x".repeat(1000))]);
    }
    drop(log);
    let lines = export(&disk);
    (disk, lines)
}

#[test]
fn only_what_is_asked_for_is_exported() {
    let (disk, _) = twelve();
    let topic = |text| Topic::parse(text).expect("a topic");
    let originals = all(&open(&disk));
    let from = originals[6].0;
    let config = ExportConfig { from: Some(from), topics: vec![topic("odd"), topic("other")] };
    let (lines, summary) = export_some(&disk, &config);
    assert_eq!((summary.events, summary.first, summary.last), (3, Some(originals[7].0), Some(originals[11].0)));
    let copy = SimDisk::default();
    import_into(&copy, &lines, false).expect("imported");
    let imported = open(&copy);
    assert_eq!(all(&imported), [7, 9, 11].map(|n| originals[n].clone()));
    assert_eq!(imported.low_water(), from);
    let (_, summary) = export_some(&disk, &ExportConfig { from: Some(HubId { ms: 1 << 60, seq: 0 }), topics: vec![] });
    assert_eq!(summary.events, 0);
}

#[test]
fn a_cut_export_is_refused_at_every_byte_and_had_in_part_when_asked_for() {
    let (disk, lines) = twelve();
    let originals = all(&open(&disk));
    let header_end = lines.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    for end in (0..lines.len()).step_by(97).chain([header_end, lines.len() - 1]) {
        let copy = SimDisk::default();
        let refused = import_into(&copy, &lines[..end], false).expect_err("cut");
        assert!(matches!(refused, ImportError::NotWhole(_) | ImportError::NotAnExport { .. }), "{refused}");
        assert_eq!(copy.names(), Vec::<String>::new(), "nothing is left");
        let had = import_into(&copy, &lines[..end], true);
        if end < header_end {
            assert!(matches!(had, Err(ImportError::NotAnExport { .. })));
            continue;
        }
        let had = had.expect("imported in part");
        assert_eq!(had.problems_total, 1);
        let whole = lines[header_end..end].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(all(&open(&copy)), originals[..whole]);
        assert_eq!(had.problems[0].after, whole.checked_sub(1).map(|last| originals[last].0));
    }
}

#[test]
fn a_changed_export_is_refused_and_its_other_lines_are_had_when_asked_for() {
    let (disk, lines) = twelve();
    let originals = all(&open(&disk));
    for at in (0..lines.len()).step_by(61) {
        let mut changed = lines.clone();
        changed[at] = changed[at].wrapping_add(1);
        let copy = SimDisk::default();
        assert!(import_into(&copy, &changed, false).is_err(), "byte {at}");
        assert_eq!(copy.names(), Vec::<String>::new(), "nothing is left");
        let Ok(had) = import_into(&copy, &changed, true) else { continue };
        assert!(had.problems_total > 0, "byte {at}");
        let left = all(&open(&copy));
        // A changed newline makes one line of two.
        assert!(left.len() >= 10, "byte {at}");
        assert!(left.iter().all(|record| originals.contains(record)), "byte {at}");
    }
}

#[test]
fn lines_that_are_missing_doubled_or_moved_are_noticed() {
    let (_, lines) = twelve();
    let text = String::from_utf8(lines).expect("text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut broken = Vec::new();
    for n in 1..lines.len() - 1 {
        let with = |change: fn(&mut Vec<&str>, usize)| {
            let mut lines = lines.clone();
            change(&mut lines, n);
            lines.concat()
        };
        broken.push(with(|lines, n| lines[n] = ""));
        broken.push(with(|lines, n| lines.insert(n, lines[n])));
        broken.push(with(|lines, n| lines.swap(n, n + 1)));
    }
    broken.push([&*text, "{}\n"].concat());
    for broken in broken {
        let refused = import_into(&SimDisk::default(), broken.as_bytes(), false);
        assert!(matches!(refused, Err(ImportError::NotWhole(_))), "{refused:?}\n{broken}");
    }
}

#[test]
fn what_is_no_export_or_a_newer_one_is_refused() {
    let (_, lines) = twelve();
    let text = String::from_utf8(lines).expect("text");
    let changed = |from: &str, to: &str| text.replacen(from, to, 1);
    for text in [
        "",
        "hello\n",
        "{}\n",
        &changed("\"floor_ms\":", "\"floor_ms\":9999999999999"),
        &changed("\"low_water\":\"#", "\"low_water\":\"#9"),
        &changed("\"epochs\":[", "\"epochs\":[{\"name\":\"1\",\"first\":\"#9-0\",\"last\":\"#8-0\"},"),
    ] {
        let refused = import_into(&SimDisk::default(), text.as_bytes(), true);
        assert!(matches!(refused, Err(ImportError::NotAnExport { .. })), "{refused:?}\n{text}");
    }
    let newer = import_into(&SimDisk::default(), changed("export\":1", "export\":2").as_bytes(), true);
    assert!(matches!(newer, Err(ImportError::OtherFormat { found: 2 })));
}

#[test]
fn a_log_that_is_there_stays_as_it_is() {
    let (disk, lines) = twelve();
    let manifest = disk.contents("manifest").expect("there");
    assert!(matches!(import_into(&disk, &lines, false), Err(ImportError::HoldsLog)));
    disk.take("manifest");
    assert!(matches!(import_into(&disk, &lines, false), Err(ImportError::HoldsSegments)));
    disk.put("manifest", manifest);
    let log = open(&disk);
    assert!(matches!(import_into(&disk, &lines, false), Err(ImportError::Locked)));
    assert_eq!(all(&log).len(), 12);
}

/// Killed or cut off at any operation, an import leaves no log, or the whole one; and the next import into the
/// folder makes it.
#[test]
fn an_import_that_was_cut_off_is_no_log_and_can_be_begun_anew() {
    let (disk, lines) = twelve();
    let originals = all(&open(&disk));
    let counted = SimDisk::default();
    import_into(&counted, &lines, false).expect("imported");
    let (mut unfinished, mut finished) = (0, 0);
    for operation in 1..=counted.operations() {
        for outage in [Outage::Kill, Outage::PowerCut(operation)] {
            let copy = SimDisk::default();
            copy.stop_at(operation);
            drop(import_into(&copy, &lines, false).expect_err("the machine stopped"));
            let copy = copy.restart(outage);
            let clock = TestClock::at(BEGINNING) as Arc<dyn Clock>;
            if copy.names().iter().any(|name| name == "manifest") {
                finished += 1;
            } else if copy.names().iter().any(|name| name == IMPORTING) {
                unfinished += 1;
                let refused = FileLog::open(copy.clone(), &FileLogConfig::default(), clock).map(|_| ());
                assert!(matches!(refused, Err(OpenError::Importing)), "{refused:?}");
                import_into(&copy, &lines, false).expect("imported");
            } else {
                assert!(copy.names().iter().all(|name| name.ends_with(".tmp")), "{:?}", copy.names());
                import_into(&copy, &lines, false).expect("imported");
            }
            assert_eq!(all(&open(&copy)), originals, "{outage:?} at operation {operation}");
            assert!(!copy.names().iter().any(|name| name == IMPORTING));
        }
    }
    assert!(unfinished > 20 && finished > 2, "{unfinished} unfinished, {finished} finished");
}

/// Somebody moved a log's manifest and segments away, and not what lay beside them. The import was a log that did
/// not start: its tombstones were another's.
#[test]
fn what_lies_there_of_a_log_that_is_gone_is_removed() {
    let (old, lines) = twelve();
    open(&old).erase(&Erase::Topic(Topic::parse("odd").expect("a topic"))).expect("erased");
    let disk = SimDisk::default();
    disk.put(TOMBSTONES, old.contents(TOMBSTONES).expect("there"));
    disk.put(&index_name(1), b"of another log".to_vec());
    import_into(&disk, &lines, false).expect("imported");
    assert!(!disk.names().iter().any(|name| name == TOMBSTONES || name.ends_with(".idx")), "{:?}", disk.names());
    assert!(is_whole(&disk));
    assert_eq!(all(&open(&disk)).len(), 12);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let (_, lines) = twelve();
    let copy = SimDisk::default();
    copy.set_space(Some(12_000));
    assert!(matches!(import_into(&copy, &lines, false), Err(ImportError::Disk(_))));
    assert_eq!(copy.names(), Vec::<String>::new());
    copy.set_space(None);
    import_into(&copy, &lines, false).expect("imported");
}

#[test]
fn an_event_longer_than_a_segment_gets_a_longer_one() {
    let disk = SimDisk::default();
    let config = FileLogConfig { segment_bytes: 1 << 20, ..FileLogConfig::default() };
    let log = FileLog::open(disk.clone(), &config, TestClock::at(BEGINNING)).expect("opened").0;
    for bytes in [10, 100_000, 10, 300_000, 10] {
        append(&log, vec![event(&["t"], &"x".repeat(bytes))]);
    }
    let copy = SimDisk::default();
    import_into(&copy, &export(&disk), false).expect("imported");
    assert!(is_whole(&copy));
    assert_eq!(all(&open(&copy)), all(&log));
}

#[test]
fn damaged_events_are_left_out_and_listed() {
    let (disk, _) = twelve();
    let originals = all(&open(&disk));
    let name = "00000000000000000001.seg";
    let mut bytes = disk.contents(name).expect("there");
    // In the data of the third event.
    let frame = &originals[2].5;
    let at = bytes.windows(frame.len()).position(|bytes| bytes == &**frame).expect("there");
    bytes[at + 500] ^= 1;
    disk.put(name, bytes);
    let (lines, summary) = export_some(&disk, &ExportConfig::default());
    let range =
        LeftOut { after: originals[1].0, before: Some(originals[3].0), events: Some(1), why: "damaged".to_owned() };
    assert!(summary.met_damage());
    assert_eq!((summary.events, &summary.left_out), (11, &vec![range.clone()]));
    let copy = SimDisk::default();
    let imported = import_into(&copy, &lines, false).expect("the export itself is whole");
    assert_eq!(imported.left_out, [range]);
    let left: Vec<_> = originals.into_iter().enumerate().filter(|(n, _)| *n != 2).map(|(_, record)| record).collect();
    assert_eq!(all(&open(&copy)), left);
}
