//! The bytes shown in `docs/format.md` are those of a log made here.

use std::collections::VecDeque;
use std::fmt::Write;

use super::SimDisk;
use super::index::{Indexed, OpenIndex, index_name, write_index};
use super::layout::segment_name;
use super::manifest::MANIFEST;
use super::open::{self, Opened, Opening};
use super::tests::opening;
use crate::HubId;
use crate::idempotence::Fingerprints;
use crate::record::{Extent, Head};
use crate::sequencer::Array;
use crate::testing::{TestClock, event_with_id};

const PAGE: &str = include_str!("../../../../docs/format.md");

#[test]
fn the_bytes_on_the_format_page_are_what_is_written() {
    let disk = SimDisk::default();
    let fingerprints = Fingerprints::default();
    let opening = Opening { new_log_id: *b"sixteen at large", ..opening(TestClock::at(1_700_000_000_000)) };
    let Opened { mut committer, times, .. } = open::open(disk.clone(), &opening, &fingerprints).expect("opened");
    let event = event_with_id("news/today", "msg-7", "Hello").private();
    let array = Array::new(vec![event], &fingerprints);
    assert!(committer.commit(&mut VecDeque::from([(array, ())]), &times.moment())[0].1.is_ok());

    let segment = disk.contents(&segment_name(1)).expect("there");
    let used = segment.iter().rposition(|&b| b != 0).expect("written") + 1;
    let index = index_of(&disk, &segment, used);
    for dump in [dump(&segment[..used]), dump(&disk.contents(MANIFEST).expect("there")), dump_used(&index)] {
        assert!(PAGE.contains(&dump), "docs/format.md lacks\n{dump}");
    }
}

/// The index of the segment, whose one record begins at byte `b0`.
fn index_of(disk: &SimDisk, segment: &[u8], end: usize) -> Vec<u8> {
    let record = &segment[0xb0..end];
    let head = Extent::read(record).and_then(|extent| Head::parse(&record[..extent.head_bytes])).expect("whole");
    let before = HubId { ms: 1_700_000_000_000, seq: 0 };
    let of = Indexed { log_id: *b"sixteen at large", first_sequence: 1, end: end as u64 };
    let mut index = OpenIndex::new(&of.log_id, before);
    index.push(0xb0, u32::try_from(end).expect("short"), &head);
    write_index(disk, &of, &index).expect("written");
    disk.contents(&index_name(1)).expect("there")
}

/// As [`dump`], without the lines that hold nothing but zeros.
fn dump_used(bytes: &[u8]) -> String {
    let dump = dump(bytes);
    let zeros = "00 ".repeat(16);
    dump.split_inclusive('\n').filter(|line| !line.contains(zeros.trim_end())).collect()
}

/// Sixteen bytes a line, with their position and what is printable of them.
fn dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            bytes.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }).collect();
        writeln!(dump, "{:04x}  {:<47}  {text}", line * 16, hex.join(" ")).expect("a string takes all");
    }
    dump
}
