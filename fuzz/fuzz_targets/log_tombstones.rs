//! No bytes make reading the tombstones of a log panic, and there are no more of them than fit in the bytes.
//!
//! Each input is read as it is, and once more with right checksums, or nothing behind them would be reached.
#![no_main]

use libfuzzer_sys::fuzz_target;

/// What comes before the first batch.
const HEADER: usize = 32;
/// What comes before the entries of a batch, whose length stands at 8.
const BATCH_HEADER: usize = 20;

fuzz_target!(|input: &[u8]| {
    tidewire_log::fuzz_tombstones(input);
    // One batch of exactly these entries, and behind it half of another.
    let mut bytes = vec![0; HEADER + BATCH_HEADER];
    let length = u32::try_from(BATCH_HEADER + input.len()).unwrap_or(u32::MAX);
    bytes[HEADER + 8..HEADER + 12].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(input);
    tidewire_log::fuzz_tombstones(&bytes);
    bytes.extend_from_slice(&bytes[HEADER..].to_vec()[..BATCH_HEADER.min(input.len())]);
    tidewire_log::fuzz_tombstones(&bytes);
});
