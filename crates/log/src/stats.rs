use std::time::Duration;

/// The upper bounds of the buckets in which commits and syncs are counted by how long they took, in
/// microseconds; one more bucket holds the rest.
pub const MICROS_BUCKETS: [u64; 12] =
    [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 1_000_000];

/// How often something was done, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How often.
    pub count: u64,
    /// How long it took together, in microseconds.
    pub micros: u64,
    /// How many took at most as long as the bound of the same index in [`MICROS_BUCKETS`] and longer than the
    /// one before; the last one has no bound.
    pub buckets: [u64; MICROS_BUCKETS.len() + 1],
}

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.micros = self.micros.saturating_add(micros);
        let bucket = MICROS_BUCKETS.iter().position(|&bound| micros <= bound);
        self.buckets[bucket.unwrap_or(MICROS_BUCKETS.len())] += 1;
    }
}

/// What a log holds and has done since it was opened, as plain numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Events retained.
    pub records: u64,
    /// Bytes retained: of the segments' and their indexes' files, or of the records in memory.
    pub bytes: u64,
    /// Segments; none in memory.
    pub segments: u64,
    /// Events appended.
    pub appended: u64,
    /// Commits: how long it took from taking the first event of those that one sync made durable until they could
    /// be shown.
    pub commits: Durations,
    /// Syncs of the newest segment alone.
    pub syncs: Durations,
    /// Syncs that failed. Their events were not shown.
    pub failed_syncs: u64,
    /// How often a segment was ended because something in it could not be written or synced.
    pub seals: u64,
    /// Bytes that wait to be committed (`append_queue_bytes` at most).
    pub waiting_bytes: u64,
    /// How often committing was done with some of what waits, whatever came of it. While this stands still, and there is
    /// something, it is stuck.
    pub turns: u64,
    /// Events answered with the id of an earlier one.
    pub repeated: u64,
    /// Publishers' ids held in memory for idempotence (by a log in memory `idempotence_entries` at most).
    pub idempotence_entries: u64,
    /// Publishers' ids that a log in memory let go before `idempotence_window` had passed, for want of room.
    pub idempotence_evictions: u64,
    /// How often old segments could not be removed.
    pub trim_failures: u64,
    /// How often the index of a segment could not be written; the segment is read without.
    pub index_failures: u64,
    /// Events and topics erased.
    pub erased: u64,
    /// Tombstones kept: of what was erased, until retention has passed it.
    pub tombstones: u64,
    /// How often the bytes of what was erased could not be overwritten.
    pub overwrite_failures: u64,
    /// Damaged ranges that are known in the files retained ([`crate::DAMAGED_RANGES_MAX`] at most).
    pub damaged_ranges: u64,
    /// Bytes of sealed segments that were read to check them.
    pub scrubbed_bytes: u64,
    /// How often all sealed segments were checked.
    pub scrub_passes: u64,
}
