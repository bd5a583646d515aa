use std::io;

use super::super::layout::{
    GROUP_HEADER, GroupHeader, SEGMENT_HEADER, SegmentHeader, parse_segment_name, segment_name,
};
use super::super::manifest::MANIFEST;
use super::super::{OpenError, Outage, RealDisk, SimDisk};
use super::{BEGINNING, config, open, try_open, try_open_with};
use crate::record::Draft;
use crate::testing::{append, event, moment, read_all, texts};
use crate::{EventLog, HubId};

/// A disk with a log whose first segment holds these groups of one event each.
fn disk_with(groups: &[&str]) -> SimDisk {
    let disk = SimDisk::default();
    let log = open(&disk);
    for data in groups {
        append(&log, vec![event(&["t"], data)]);
    }
    disk
}

/// Where the groups of a segment begin, and where the last one ends.
pub(super) fn group_bounds(bytes: &[u8]) -> Vec<usize> {
    let mut bounds = vec![SEGMENT_HEADER];
    let mut at = SEGMENT_HEADER;
    while bytes[at..].starts_with(b"TWGR") {
        let body = u32::from_le_bytes(*bytes[at + 12..].first_chunk().expect("four bytes"));
        at += GROUP_HEADER + body as usize;
        bounds.push(at);
    }
    bounds
}

#[test]
fn a_second_one_in_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || try_open_with(RealDisk::new(folder.path()).expect("made"), &config(), BEGINNING);
    let first = open().expect("opened");
    assert!(matches!(open().map(|_| ()), Err(OpenError::Locked)));
    drop(first);
    open().expect("free again");
}

#[test]
fn a_torn_last_group_is_cut_whatever_byte_it_is_torn_at() {
    let disk = disk_with(&["one", "two", "a third that is torn"]);
    let name = segment_name(1);
    let whole = disk.contents(&name).expect("there");
    let bounds = group_bounds(&whole);
    let (start, end) = (bounds[2], bounds[3]);
    for torn_at in start..end {
        let mut zeros = whole.clone();
        zeros[torn_at..].fill(0);
        let mut garbage = whole.clone();
        garbage[torn_at..].fill(0xa5);
        let mut short = whole.clone();
        short.truncate(torn_at);
        for (kind, bytes) in [("zeros", zeros), ("garbage", garbage), ("short", short)] {
            if bytes == whole {
                continue;
            }
            let disk = disk.restart(Outage::Kill);
            disk.put(&name, bytes);
            let (log, recovery) = try_open(&disk).expect(kind);
            assert_eq!(texts(&read_all(&log)), ["one", "two"], "{kind} at {torn_at}");
            assert_eq!(recovery.cut_bytes == 0, torn_at == start && kind != "garbage", "{recovery:?}");
            append(&log, vec![event(&["t"], "after")]);
            drop(log);
            let after = disk.contents(&name).expect("there");
            assert_eq!(after.len(), whole.len());
            let end = *group_bounds(&after).last().expect("groups");
            assert!(after[end..].iter().all(|&b| b == 0), "{kind} at {torn_at}: zeros behind the end");
            assert_eq!(texts(&read_all(&open(&disk))), ["one", "two", "after"], "{kind} at {torn_at}");
        }
    }
}

#[test]
fn a_flipped_bit_before_the_last_group_stops_the_start_and_changes_nothing() {
    let disk = disk_with(&["one", "two", "three"]);
    let name = segment_name(1);
    let whole = disk.contents(&name).expect("there");
    let bounds = group_bounds(&whole);
    for at in 0..bounds[2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let disk = disk.restart(Outage::Kill);
        disk.put(&name, bytes.clone());
        let group = bounds.iter().rev().find(|&&start| start <= at).copied().unwrap_or(0);
        match try_open(&disk).map(|_| ()) {
            Err(OpenError::Damaged { file, position, .. }) => {
                assert_eq!((file, position), (name.clone(), group as u64))
            }
            other => panic!("byte {at}: {other:?}"),
        }
        assert_eq!(disk.contents(&name).expect("there"), bytes, "byte {at}");
    }
}

/// Checksums alone do not make a group whole: it must be the one that follows.
#[test]
fn a_last_group_that_does_not_follow_is_cut() {
    let disk = disk_with(&["one", "two"]);
    let name = segment_name(1);
    let whole = disk.contents(&name).expect("there");
    let (second, end) = (group_bounds(&whole)[1], group_bounds(&whole)[2]);
    let manifest = disk.contents(MANIFEST).expect("there");
    let log_id = manifest[16..32].first_chunk().expect("sixteen bytes");
    let (header, _) = GroupHeader::decode(&whole[second..], log_id).expect("a group");
    let record = |sequence, id| {
        let mut bytes = Vec::new();
        let head_crc = Draft::new(&event(&["t"], "two")).encode(sequence, id, &moment(BEGINNING), &mut bytes);
        (bytes, crc32c::crc32c(&head_crc.to_le_bytes()))
    };
    let texts_with = |header: GroupHeader, body: &[u8]| {
        let mut bytes = whole.clone();
        bytes[second..second + GROUP_HEADER].copy_from_slice(&header.encode(log_id).0);
        bytes[second + GROUP_HEADER..second + GROUP_HEADER + body.len()].copy_from_slice(body);
        disk.put(&name, bytes);
        read_all(&open(&disk)).len()
    };
    let body = &whole[second + GROUP_HEADER..end];
    assert_eq!(texts_with(header, body), 2);
    let changed = [
        GroupHeader { predecessor: header.predecessor ^ 1, ..header },
        GroupHeader { records_crc: header.records_crc ^ 1, ..header },
        GroupHeader { first_sequence: 3, ..header },
        GroupHeader { count: 2, ..header },
        GroupHeader { count: 0, body_bytes: 0, records_crc: 0, ..header },
        GroupHeader { body_bytes: header.body_bytes + 1, ..header },
        GroupHeader { body_bytes: u32::MAX, ..header },
    ];
    for changed in changed {
        assert_eq!(texts_with(changed, body), 1, "{changed:?}");
    }
    let next = HubId { ms: BEGINNING, seq: 2 };
    for (sequence, id, expected) in [(2, next, 2), (3, next, 1), (2, HubId { ms: BEGINNING, seq: 1 }, 1)] {
        let (body, records_crc) = record(sequence, id);
        assert_eq!(texts_with(GroupHeader { records_crc, ..header }, &body), expected, "{sequence} {id}");
    }
}

/// A publisher does not know the log's id, so it cannot make data that, half written at a crash,
/// would pass for a group and stop the start.
#[test]
fn data_that_looks_like_a_group_does_not_stop_the_start() {
    let header = GroupHeader {
        count: 1,
        body_bytes: 100,
        records_crc: 1,
        predecessor: 1,
        first_sequence: 1,
        durable_sequence: u64::MAX,
    };
    let disk = disk_with(&["one", "torn"]);
    let name = segment_name(1);
    let mut bytes = disk.contents(&name).expect("there");
    let torn = group_bounds(&bytes)[1];
    bytes[torn..torn + 8].fill(0);
    let mut own = bytes.clone();
    bytes[torn + 60..torn + 60 + GROUP_HEADER].copy_from_slice(&header.encode(b"not this log's..").0);
    disk.put(&name, bytes);
    assert_eq!(texts(&read_all(&open(&disk))), ["one"]);

    let manifest = disk.contents(MANIFEST).expect("there");
    let log_id = manifest[16..32].first_chunk().expect("sixteen bytes");
    own[torn + 60..torn + 60 + GROUP_HEADER].copy_from_slice(&header.encode(log_id).0);
    disk.put(&name, own);
    assert!(matches!(try_open(&disk).map(|_| ()), Err(OpenError::Damaged { .. })), "the log's own would");
}

#[test]
fn a_folder_that_is_not_what_a_log_leaves_behind_is_refused() {
    let disk = SimDisk::default();
    let log = open(&disk);
    for _ in 0..60 {
        append(&log, vec![event(&["t"], &"x".repeat(200))]);
    }
    drop(log);
    let segments: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect();
    assert!(segments.len() > 3);
    let refused = |change: &dyn Fn(&SimDisk)| {
        let copy = SimDisk::default();
        for name in disk.names() {
            copy.put(&name, disk.contents(&name).expect("there"));
        }
        change(&copy);
        try_open(&copy).map(|_| ()).expect_err("refused")
    };
    let missing = |file: &String| {
        format!(
            "the segment before {file} is missing: put it back from a copy, or start with --salvage, which goes on \
             without it"
        )
    };
    assert_eq!(refused(&|disk| disk.take(&segments[0])).to_string(), missing(&segments[1]));
    assert_eq!(refused(&|disk| disk.take(&segments[2])).to_string(), missing(&segments[3]));
    let none = refused(&|disk| segments.iter().for_each(|name| disk.take(name)));
    assert!(matches!(none, OpenError::NoSegments), "{none}");
    let unnamed = refused(&|disk| disk.take(MANIFEST));
    assert!(matches!(unnamed, OpenError::NoManifest), "{unnamed}");

    let other = disk_with(&["other"]);
    let first = other.contents(&segments[0]).expect("there");
    let foreign = refused(&|disk| disk.put(&segments[0], first.clone()));
    assert!(matches!(&foreign, OpenError::OtherLog { file } if *file == segments[0]), "{foreign}");

    let newer = |name: &str| {
        refused(&|disk| {
            let mut bytes = disk.contents(name).expect("there");
            bytes[12] = 9;
            let end = if name == MANIFEST { bytes.len() } else { SEGMENT_HEADER };
            let crc = crc32c::crc32c(&bytes[12..end]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
            disk.put(name, bytes);
        })
        .to_string()
    };
    for (name, known) in [(MANIFEST, 2), (&segments[1], 1)] {
        let expected =
            format!("{name} has format 9, and this version reads format {known}: use the version that wrote it");
        assert_eq!(newer(name), expected);
    }
    let short = refused(&|disk| disk.put(&segments[1], disk.contents(&segments[1]).expect("there")[..2000].to_vec()));
    assert!(matches!(&short, OpenError::Damaged { file, position: 2000, .. } if *file == segments[1]), "{short}");
    let stub = refused(&|disk| disk.put(&segments[1], vec![0; 20]));
    assert!(matches!(&stub, OpenError::Damaged { file, position: 0, .. } if *file == segments[1]), "{stub}");
}

#[test]
fn an_unreadable_folder_says_what_was_tried() {
    let disk = SimDisk::default();
    disk.stop_at(0);
    let refused = try_open(&disk).map(|_| ()).expect_err("refused");
    assert_eq!(refused.to_string(), "failed to lock the folder");
    let source = std::error::Error::source(&refused).and_then(|source| source.downcast_ref::<io::Error>());
    assert!(source.is_some());
}

/// Positions in a segment have 32 bits. A header that said of the one before that it was longer than it was made, and a
/// file that was so long, took whoever walked over it beyond them: it panicked, and so did the thread that makes indexes.
#[test]
fn nothing_is_read_behind_what_a_segments_own_header_says() {
    let disk = SimDisk::default();
    let log = open(&disk);
    let ids: Vec<HubId> = (0..10).flat_map(|_| append(&log, vec![event(&["t"], &"x".repeat(1000))])).collect();
    drop(log);
    let lengthened = [disk.contents(&segment_name(1)).expect("there"), vec![1; 5000]].concat();
    disk.put(&segment_name(1), lengthened);
    let second = disk.names().into_iter().filter_map(|name| parse_segment_name(&name)).nth(1).expect("there");
    let bytes = disk.contents(&segment_name(second)).expect("there");
    let mut header = SegmentHeader::decode(bytes.first_chunk().expect("long enough")).expect("whole");
    header.before.length = 4096 + 5000;
    disk.damage(&segment_name(second), 0, &header.encode());
    let log = open(&disk);
    let first = log.shelf().segments().remove(0);
    assert_eq!((first.committed(), first.header.file_bytes), (4096, 4096));
    // Somebody is told that the first one's end is not what it should be; every event is there.
    assert!(ids.iter().all(|&id| log.event(id, &mut |_| ()).expect("read")));
    assert!(log.is_writable());
}
