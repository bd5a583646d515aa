//! The bytes shown in `docs/format.md` are those of a log made here.

use std::collections::VecDeque;
use std::fmt::Write;

use super::SimDisk;
use super::committer::{Committer, Window};
use super::layout::segment_name;
use super::manifest::MANIFEST;
use super::recovery::Limits;
use crate::idempotence::Fingerprints;
use crate::sequencer::Array;
use crate::testing::event_with_id;

const PAGE: &str = include_str!("../../../../docs/format.md");

#[test]
fn the_bytes_on_the_format_page_are_what_is_written() {
    let disk = SimDisk::default();
    let limits = Limits { segment_bytes: 4096, retention_bytes: 1 << 20 };
    let window = Window { window_ms: 1000, entries_max: 10 };
    let fingerprints = Fingerprints::default();
    let now_ms = 1_700_000_000_000;
    let (mut committer, _) =
        Committer::open(disk.clone(), &limits, window, &fingerprints, now_ms, *b"sixteen at large").expect("opened");
    let event = event_with_id("news/today", "msg-7", "Hello").private();
    let array = Array::new(vec![event], &fingerprints);
    assert!(committer.commit(&mut VecDeque::from([(array, ())]), now_ms)[0].1.is_ok());

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
