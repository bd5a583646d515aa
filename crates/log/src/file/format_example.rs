//! The bytes shown in `docs/format.md` are those of a log made here.

use std::collections::VecDeque;
use std::fmt::Write;

use super::SimDisk;
use super::layout::segment_name;
use super::manifest::MANIFEST;
use super::open::{self, Opened, Opening};
use super::tests::opening;
use crate::idempotence::Fingerprints;
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
    for dump in [dump(&segment[..used]), dump(&disk.contents(MANIFEST).expect("there"))] {
        assert!(PAGE.contains(&dump), "docs/format.md lacks\n{dump}");
    }
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
