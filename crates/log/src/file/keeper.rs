use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::disk::Disk;
use super::index::index_name;
use super::indexer::Indexer;
use super::ledger::Ledger;
use super::shelf::Shelf;
use super::sweep::Sweep;

/// How often the clocks are kept, and the floor of ids moves.
pub(crate) const KEEP_EVERY: Duration = Duration::from_secs(30);
/// How soon the clocks are kept after that has failed: as often as old segments are looked for.
pub(crate) const KEEP_AGAIN: Duration = TRIM_EVERY;
/// How often old segments are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// What is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    /// What all segments may take with their indexes, in bytes.
    pub(crate) bytes: u64,
    /// How old an event may become on the retention clock, in milliseconds.
    pub(crate) age_ms: u64,
}

/// Does what is to be done beside committing: it keeps the clocks, moves the floor of ids, removes what is
/// retained no longer, writes the indexes of sealed segments, and overwrites what was erased.
pub(crate) struct Keeper<D: Disk> {
    pub(crate) ledger: Ledger<D>,
    shelf: Arc<Shelf<D::File>>,
    pub(crate) indexer: Indexer<D>,
    retention: Retention,
    /// Its age, as the committer sees it.
    age_ms: Arc<AtomicU64>,
    /// How often an index could not be written.
    pub(crate) index_failures: u64,
    pub(crate) sweep: Sweep<D>,
    /// When the clocks are to be kept, in monotonic time.
    keep_at: Duration,
    /// What is still to be unlinked of segments that were removed: no more than there are files.
    left_over: Vec<LeftOver>,
}

/// A file of a segment that was removed.
struct LeftOver {
    name: String,
    bytes: u64,
}

impl<D: Disk> Keeper<D> {
    /// `is_kept` says whether the clocks were kept just now.
    pub(crate) fn new(
        mut ledger: Ledger<D>,
        shelf: Arc<Shelf<D::File>>,
        indexer: Indexer<D>,
        retention: Retention,
        sweep: Sweep<D>,
        is_kept: bool,
    ) -> Keeper<D> {
        // Their indexes take room as well.
        shelf.segments().iter().for_each(|segment| segment.measure_index(ledger.disk()));
        // Where there is no room for it, it is tried again each time that old segments are looked for.
        ledger.keep_reserve().unwrap_or_default();
        let keep_in = if is_kept { KEEP_EVERY } else { KEEP_AGAIN };
        let keep_at = ledger.times().clock().monotonic() + keep_in;
        let age_ms = Arc::new(AtomicU64::new(retention.age_ms));
        Keeper { ledger, shelf, indexer, retention, age_ms, index_failures: 0, sweep, keep_at, left_over: Vec::new() }
    }

    /// Retains this from the next look on.
    pub(crate) fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
        self.age_ms.store(retention.age_ms, Ordering::Relaxed);
    }

    /// How old an event may become, in milliseconds, as it is now.
    pub(crate) fn age_ms(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.age_ms)
    }

    /// Does what is due, and says after how long to come again.
    ///
    /// # Errors
    /// When the disk fails; it is tried again the next time.
    pub(crate) fn turn(&mut self) -> (Duration, io::Result<()>) {
        let now = self.ledger.times().clock().monotonic();
        let mut done = self.trim();
        if now >= self.keep_at {
            let kept = self.ledger.keep_times();
            self.keep_at = now + if kept.is_ok() { KEEP_EVERY } else { KEEP_AGAIN };
            done = done.and(kept);
        }
        let sweep_in = self.sweep.turn(now).unwrap_or(TRIM_EVERY);
        let pause = TRIM_EVERY.min(self.keep_at.saturating_sub(now)).min(sweep_in);
        match self.indexer.turn() {
            Ok(true) => (Duration::ZERO, done),
            Ok(false) => (pause, done),
            Err(_) => {
                // Readers do without, and it is tried again.
                self.index_failures += 1;
                (pause, done)
            }
        }
    }

    /// Removes the oldest segments while all of them take too much, or the newest of what they hold is
    /// too old. The mark moves first, durably: readers are told, also after a crash between the two.
    ///
    /// # Errors
    /// When the disk fails; it can be tried again.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        let moved = self.move_mark();
        moved.and(self.unlink_left_over())
    }

    fn move_mark(&mut self) -> io::Result<()> {
        self.ledger.keep_reserve().unwrap_or_default();
        let segments = self.shelf.segments();
        let born_ms = self.ledger.times().moment().retention_ms.saturating_sub(self.retention.age_ms);
        // Asked once: meanwhile somebody may write an index.
        let sizes: Vec<u64> = segments.iter().map(|segment| segment.disk_bytes()).collect();
        let mut bytes: u64 = sizes.iter().sum();
        let mut count = 0;
        // The newest one stays, whatever it holds.
        for (pair, size) in segments.windows(2).zip(sizes) {
            let last_ms = pair[1].header.before.retention_ms;
            if bytes <= self.retention.bytes && last_ms >= born_ms {
                break;
            }
            bytes -= size;
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let low_water = segments[count].header.before.id;
        self.ledger.move_low_water(low_water)?;
        self.shelf.remove(count, low_water);
        self.sweep.eraser().drop_below(low_water);
        for segment in &segments[..count] {
            let index = index_name(segment.header.first_sequence);
            // Before others take the room that comes free: the next mark may have to be moved without any.
            self.ledger.keep_reserve_of(&index);
            self.left_over.push(LeftOver { name: index, bytes: segment.index_bytes() });
            self.left_over.push(LeftOver { name: segment.name.clone(), bytes: segment.header.file_bytes });
        }
        Ok(())
    }

    /// Unlinks the files of what was removed. Those for which that fails are left for the next time.
    fn unlink_left_over(&mut self) -> io::Result<()> {
        if self.left_over.is_empty() {
            return Ok(());
        }
        let disk = self.ledger.disk();
        let mut done = Ok(());
        self.left_over.retain(|LeftOver { name, .. }| match disk.unlink(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                done = Err(error);
                true
            }
            _ => false,
        });
        self.shelf.set_left_over(self.left_over.iter().map(|file| file.bytes).sum());
        done.and(disk.sync_names())
    }
}
