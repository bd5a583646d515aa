use std::sync::Arc;
use std::time::Duration;

use super::committer::{Committer, unreadable};
use super::cursor::FileCursor;
use super::damage::Reports;
use super::disk::{Disk, DiskFile};
use super::indexer::Indexer;
use super::keeper::{Keeper, Retention};
use super::layout::LogId;
use super::ledger::Ledger;
use super::lookup::Lookup;
use super::manifest::{BootId, Manifest, State};
use super::open_error::OpenError;
use super::picks::Wanted;
use super::recovery::{self, Recovered, Recovery};
use super::salvage::OnDamage;
use super::segment::Segment;
use super::shelf::Shelf;
use super::sweep::{Eraser, Sweep};
use super::tombstone_file::TombstoneFile;
use crate::cursor::RecordCursor;
use crate::idempotence::Fingerprints;
use crate::times::Times;
use crate::visibility::Visibility;
use crate::{Clock, HubId, RetentionRules};

/// How a log in a locked folder is opened.
#[derive(Clone)]
pub(crate) struct Opening {
    pub(crate) segment_bytes: u64,
    pub(crate) retention: Retention,
    pub(crate) rules: RetentionRules,
    pub(crate) erase_within: Duration,
    /// How long a repeated publication is recognised, in milliseconds.
    pub(crate) window_ms: u64,
    pub(crate) durability: Durability,
    pub(crate) boot_id: BootId,
    pub(crate) retention_catch_up: Duration,
    /// Names the log if it is new; random.
    pub(crate) new_log_id: LogId,
    pub(crate) reports: Reports,
    pub(crate) on_damage: OnDamage,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What an event is before it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Synced to disk: it survives a power cut.
    #[default]
    Commit,
    /// Given to the system: it survives a killed process, and not a power cut.
    Os,
}

/// An open log, without its threads; `T` says who is answered.
pub(crate) struct Opened<D: Disk, T> {
    pub(crate) committer: Committer<D, T>,
    pub(crate) lookup: Arc<Lookup<D>>,
    pub(crate) keeper: Keeper<D>,
    pub(crate) times: Arc<Times>,
    pub(crate) visibility: Arc<Visibility>,
    pub(crate) epochs: EpochPlaces,
    pub(crate) recovery: Recovery,
}

/// Opens the log, or makes one. What is shown from here on belongs to an epoch of the manifest, which is
/// durable, and no id will lie above its floor.
///
/// # Errors
/// When the folder cannot be read, or is not what a log leaves behind.
pub(crate) fn open<D: Disk, T>(
    disk: D,
    opening: &Opening,
    fingerprints: &Fingerprints,
) -> Result<Opened<D, T>, OpenError> {
    let now_ms = opening.clock.now_ms();
    let Recovered { mut segments, mut manifest, tombstones, mut recovery } = recovery::open(disk, opening, now_ms)?;
    let shelf = Arc::clone(segments.shelf());
    let is_lossless = match manifest.state {
        State::Closed | State::Commit => true,
        State::Os(boot_id) => boot_id == opening.boot_id && boot_id != BootId::default(),
        State::Memory => false,
    };
    let durable = manifest.clone();
    if !is_lossless {
        manifest.begin_epoch(shelf.head(), now_ms);
    }
    let times = Arc::new(Times::go_on(&manifest.times, Arc::clone(&opening.clock), opening.retention_catch_up));
    // What was kept last may be older than the last record.
    times.raise_retention(segments.shown().retention_ms);
    manifest.state = match opening.durability {
        Durability::Commit => State::Commit,
        Durability::Os => State::Os(opening.boot_id),
    };
    let epochs = EpochPlaces::of(&manifest);
    let mut ledger = Ledger::new(Arc::clone(segments.disk()), manifest, Arc::clone(&times));
    let is_kept = ledger.begin(&durable).map_err(|source| OpenError::Io { what: "write the manifest", source })?;
    let first_ms = first_ms(&shelf, segments.active())?;
    segments.begin_at(epochs.current, first_ms, opening.durability);
    let disk = Arc::clone(segments.disk());
    let file = TombstoneFile::go_on(Arc::clone(&disk), shelf.log_id, &tombstones)
        .map_err(|source| OpenError::Io { what: "write the tombstones", source })?;
    let visibility = Visibility::new(opening.rules.clone(), Arc::clone(&times), tombstones.tombstones);
    let visibility = Arc::new(visibility);
    let eraser = Arc::new(Eraser::new(file, Arc::clone(&visibility)));
    let sweep = Sweep::new(eraser, Arc::clone(&disk), Arc::clone(&shelf), opening.erase_within);
    let indexer = Indexer::new(disk, Arc::clone(&shelf));
    let keeper = Keeper::new(ledger, Arc::clone(&shelf), indexer, opening.retention, sweep, is_kept);
    let window_ms = opening.window_ms;
    let (age_ms, retention_ms) = (keeper.age_ms(), times.moment().retention_ms);
    let known = Arc::clone(&visibility);
    let lookup = Arc::new(Lookup::new(shelf, fingerprints.clone(), Arc::clone(&times), known, window_ms));
    let known = Arc::clone(&visibility);
    let committer = Committer::open(segments, window_ms, Arc::clone(&lookup), known, age_ms, retention_ms)?;
    recovery.idempotence_entries = committer.sequencer().idempotence.len() as u64;
    Ok(Opened { committer, lookup, keeper, times, visibility, epochs, recovery })
}

/// The retention clock of the first record in a segment.
fn first_ms<F: DiskFile>(shelf: &Shelf<F>, segment: &Arc<Segment<F>>) -> Result<Option<u64>, OpenError> {
    let mut cursor = FileCursor::of_segment(shelf, Arc::clone(segment), Wanted::All);
    let first = cursor.next_head().map_err(unreadable)?;
    Ok(first.map(|head| head.retention_ms))
}

/// Where the epochs of an open log begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochPlaces {
    /// The first place of the first epoch that is listed.
    pub(crate) oldest: HubId,
    /// The first place of the current epoch.
    pub(crate) current: HubId,
}

impl EpochPlaces {
    pub(crate) fn of(manifest: &Manifest) -> EpochPlaces {
        let current = manifest.epoch().first;
        EpochPlaces { oldest: manifest.epochs.first().map_or(current, |epoch| epoch.first), current }
    }

    /// Where a place stands in a log with this head.
    pub(crate) fn standing(&self, place: HubId, head: HubId) -> crate::Standing {
        if place < self.oldest || place > head {
            crate::Standing::Foreign
        } else if place < self.current {
            crate::Standing::Earlier
        } else {
            crate::Standing::Current
        }
    }
}
