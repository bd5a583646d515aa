//! Folders that the hub refuses to start in: each with its own message, and left as they were. And torn ends, which
//! it cuts.

use tidewire_harness::{Clock, Hub, StoppedLog, of_the_future};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long a group's header is.
const GROUP_HEADER: usize = 48;
const SEGMENT_HEADER: usize = 128;

#[test]
fn another_process_has_the_folder() {
    let mut log = StoppedLog::new(BINARY);
    log.hub.restart();
    let mut second = Hub::new(log.hub.data(), BINARY, &["--dev"], &[]);
    let refusal = second.refuse();
    assert_eq!(refusal.code, Some(1));
    assert!(refusal.said.contains("another process uses the log"), "{}", refusal.said);
    log.hub.kill(Clock::start());
    log.assert_starts_with(StoppedLog::EVENTS);
}

#[test]
fn a_segment_is_missing() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, segments) = (log.files.clone(), log.segments());
    assert!(segments.len() > 3, "{segments:?}");
    for missing in [0, segments.len() / 2] {
        log.files.remove(&segments[missing]);
        log.write();
        log.assert_refused(&[&segments[missing + 1], "is missing", "from a copy"]);
        log.files.clone_from(&whole);
    }
    log.assert_starts_as(whole);
}

#[test]
fn the_newest_segments_are_missing() {
    let mut log = StoppedLog::with_indexes(BINARY);
    let (whole, segments) = (log.files.clone(), log.segments());
    for left in [segments.len() - 1, 1] {
        for segment in &segments[left..] {
            log.files.remove(segment);
        }
        log.write();
        let said = format!("{}, the segment behind {}, is missing", segments[left], segments[left - 1]);
        log.assert_refused(&[&said, "from a copy", "--salvage"]);
        log.files.clone_from(&whole);
    }
    log.assert_starts_as(whole);
}

#[test]
fn all_segments_are_missing() {
    let mut log = StoppedLog::new(BINARY);
    let whole = log.files.clone();
    log.files.retain(|name, _| !name.ends_with(".seg"));
    log.write();
    log.assert_refused(&["a manifest and no segments"]);
    log.assert_starts_as(whole);
}

#[test]
fn a_segment_is_of_another_log() {
    let (mut log, other) = (StoppedLog::new(BINARY), StoppedLog::new(BINARY));
    let (whole, segment) = (log.files.clone(), log.segments()[1].clone());
    log.change(&segment, |bytes| bytes.clone_from(&other.files[&other.segments()[1]]));
    log.assert_refused(&[&segment, "belongs to another log"]);
    log.assert_starts_as(whole);
}

#[test]
fn the_manifest_is_another_logs() {
    let (mut log, other) = (StoppedLog::new(BINARY), StoppedLog::new(BINARY));
    let (whole, segment) = (log.files.clone(), log.segments()[0].clone());
    log.change("manifest", |bytes| bytes.clone_from(&other.files["manifest"]));
    log.assert_refused(&[&segment, "belongs to another log"]);
    log.assert_starts_as(whole);
}

#[test]
fn a_newer_version_wrote_it() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, segment) = (log.files.clone(), log.segments()[1].clone());
    log.change(&segment, |bytes| of_the_future(&mut bytes[..SEGMENT_HEADER]));
    log.assert_refused(&[&segment, "has format 777", "use the version that wrote it"]);
    log.files.clone_from(&whole);
    log.change("manifest", |bytes| of_the_future(bytes));
    log.assert_refused(&["manifest", "has format 777", "use the version that wrote it"]);
    log.assert_starts_as(whole);
}

#[test]
fn a_group_is_damaged_and_one_behind_it_says_that_it_was_durable() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, last) = (log.files.clone(), log.segments().pop().expect("there is one"));
    let groups = log.groups(&last);
    assert!(groups.len() > 2, "{groups:?}");
    let (begin, end) = groups[groups.len() - 2];
    let position = format!("damaged at byte {begin}");
    for at in [begin, begin + GROUP_HEADER + 20, end - 1] {
        log.change(&last, |bytes| bytes[at] ^= 1);
        log.assert_refused(&[&last, &position, "from a copy"]);
        log.files.clone_from(&whole);
    }
    // As a file system may leave it behind.
    log.change(&last, |bytes| bytes[begin..end].fill(0));
    log.assert_refused(&[&last, &position, "from a copy"]);
    log.assert_starts_as(whole);
}

#[test]
fn a_segments_header_is_damaged() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, segments) = (log.files.clone(), log.segments());
    for segment in [&segments[1], &segments[segments.len() - 1]] {
        log.change(segment, |bytes| bytes[40] ^= 1);
        log.assert_refused(&[segment, "damaged at byte 0"]);
        log.change(segment, |bytes| bytes.truncate(100));
        log.assert_refused(&[segment, "damaged at byte 0"]);
        log.files.clone_from(&whole);
    }
    log.assert_starts_as(whole);
}

#[test]
fn a_sealed_segment_is_too_short() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, segment) = (log.files.clone(), log.segments()[1].clone());
    let (_, end) = log.groups(&segment).pop().expect("it has groups");
    log.change(&segment, |bytes| bytes.truncate(end - 1));
    log.assert_refused(&[&segment, "damaged at byte", "shorter than the next segment says"]);
    log.assert_starts_as(whole);
}

#[test]
fn the_manifest_is_missing() {
    let mut log = StoppedLog::new(BINARY);
    let whole = log.files.clone();
    log.files.remove("manifest");
    log.write();
    log.assert_refused(&["segments and no manifest"]);
    log.assert_starts_as(whole);
}

#[test]
fn the_manifest_is_damaged() {
    let mut log = StoppedLog::new(BINARY);
    let whole = log.files.clone();
    for length in [0, 20, whole["manifest"].len() - 1] {
        log.change("manifest", |bytes| bytes.truncate(length));
        log.assert_refused(&["manifest is damaged"]);
        log.files.clone_from(&whole);
    }
    log.change("manifest", |bytes| bytes[30] ^= 1);
    log.assert_refused(&["manifest is damaged"]);
    log.assert_starts_as(whole);
}

/// A crash leaves half a group, nothing of which was answered.
#[test]
fn a_torn_end_is_cut_and_reported() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, last) = (log.files.clone(), log.segments().pop().expect("there is one"));
    let (begin, end) = log.groups(&last).pop().expect("it has groups");
    // As if what lies there now were the next group, of which only so much came to the disk.
    let next = whole[&last][begin..end].to_vec();
    for written in [1, GROUP_HEADER, GROUP_HEADER + 1, next.len() - 1] {
        log.change(&last, |bytes| bytes[end..end + written].copy_from_slice(&next[..written]));
        log.assert_starts_with(StoppedLog::EVENTS);
        let said = log.hub.said().join("\n");
        // Zeros at the end are as good as nothing.
        let cut = next[..written].iter().rposition(|byte| *byte != 0).expect("it begins with a name") + 1;
        assert!(said.contains(&format!("cut {cut} bytes")), "{said}");
        log.hub.kill(Clock::start());
        log.files.clone_from(&whole);
        log.write();
    }
    log.change(&last, |bytes| bytes[end..].fill(0xa5));
    log.assert_starts_with(StoppedLog::EVENTS);
    let said = log.hub.said().join("\n");
    assert!(said.contains(&format!("cut {} bytes", whole[&last].len() - end)), "{said}");
}

/// No crash does this to a group that was answered, but a disk may. Nothing behind vouches for it: it is cut whole.
#[test]
fn a_last_group_that_is_not_whole_is_cut_whole() {
    let mut log = StoppedLog::new(BINARY);
    let (whole, last) = (log.files.clone(), log.segments().pop().expect("there is one"));
    let (begin, end) = log.groups(&last).pop().expect("it has groups");
    for at in [begin, begin + GROUP_HEADER, end - 1] {
        log.change(&last, |bytes| bytes[at] ^= 1);
        log.assert_starts_with(StoppedLog::EVENTS - 1);
        let said = log.hub.said().join("\n");
        assert!(said.contains(&format!("cut {} bytes", end - begin)), "{said}");
        log.hub.kill(Clock::start());
        log.files.clone_from(&whole);
        log.write();
    }
    log.change(&last, |bytes| bytes.truncate(end - 1));
    log.assert_starts_with(StoppedLog::EVENTS - 1);
}
