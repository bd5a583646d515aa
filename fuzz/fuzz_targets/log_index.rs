//! No bytes make reading an index panic, and what it answers is no longer than they are.
//!
//! Each input is asked as it is, and once more with right checksums, or nothing behind them would be reached.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// An index's pages are so long; libFuzzer would take long to find that.
const PAGE: usize = 4096;

/// What of a header is not zeros.
const HEADER: usize = 72;

fuzz_target!(|input: &[u8]| {
    tidewire_log::fuzz_index(input);
    if let Some((header, content)) = input.split_at_checked(HEADER) {
        let mut pages = header.to_vec();
        // What the header must say, so that what lies behind it is reached.
        pages[..8].copy_from_slice(b"TWINDEX\0");
        pages[12..16].copy_from_slice(&1u32.to_le_bytes());
        pages[16..32].copy_from_slice(b"sixteen at large");
        pages[32..40].copy_from_slice(&7u64.to_le_bytes());
        pages[40..48].copy_from_slice(&(1u64 << 20).to_le_bytes());
        // Small counts, so that the length can be right.
        (48..HEADER).filter(|at| at % 4 > 0).for_each(|at| pages[at] = 0);
        pages.resize(PAGE, 0);
        pages.extend_from_slice(content);
        // Filters that hold everything are as likely as those that hold nothing.
        let fill = content.last().copied().unwrap_or_default();
        for length in 1..=6 {
            pages.resize(length * PAGE, fill);
            tidewire_log::fuzz_index(&pages);
        }
    }
});
