//! The folder of a log: who may use it, and which ids were given out in it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::layout::LogId;
use super::ledger::Ledger;
use super::manifest::{Manifest, State};
use super::open::EpochPlaces;
use super::open_error::OpenError;
use super::recovery::{io_error, read_manifest};
use super::salvage::{self, OnDamage};
use crate::Clock;
use crate::times::Times;

/// A file that is there as long as an import is under way: without a manifest, what else lies in the folder is
/// no log.
pub(crate) const IMPORTING: &str = "importing";

/// Takes the folder's lock.
///
/// # Errors
/// When another process has it, or an import into it has not ended.
pub(crate) fn lock<D: Disk>(disk: &D) -> Result<D::Lock, OpenError> {
    let lock = disk.lock().map_err(io_error("lock the folder"))?.ok_or(OpenError::Locked)?;
    let failed = io_error("look for an import");
    if disk.list().map_err(&failed)?.iter().any(|name| name == IMPORTING) {
        if read_manifest(disk)?.is_none() {
            return Err(OpenError::Importing);
        }
        // The manifest is the last thing that an import makes.
        disk.unlink(IMPORTING).map_err(&failed)?;
    }
    Ok(lock)
}

/// What a log in memory has of its folder.
pub(crate) type ForMemory<D> = (<D as Disk>::Lock, Ledger<D>, Arc<Times>, EpochPlaces);

/// Opens the folder for a log in memory, which begins an epoch: segments that lie there are left alone.
///
/// # Errors
/// When another process has it, or it cannot be read or written.
pub(crate) fn open_for_memory<D: Disk>(
    disk: D,
    catch_up: Duration,
    on_damage: OnDamage,
    clock: Arc<dyn Clock>,
) -> Result<ForMemory<D>, OpenError> {
    let lock = lock(&disk)?;
    disk.sync_names().map_err(io_error("sync the folder"))?;
    let now_ms = clock.now_ms();
    if on_damage == OnDamage::Salvage {
        salvage::mend_manifest(&disk, random_log_id(), now_ms)?;
    }
    let manifest = match read_manifest(&disk)? {
        Some(mut manifest) => {
            manifest.begin_epoch(last_place(&manifest), now_ms);
            manifest
        }
        None => Manifest::new(random_log_id(), now_ms),
    };
    let manifest = Manifest { state: State::Memory, ..manifest };
    let epochs = EpochPlaces::of(&manifest);
    let times = Arc::new(Times::go_on(&manifest.times, clock, catch_up));
    let mut ledger = Ledger::new(Arc::new(disk), manifest, Arc::clone(&times));
    ledger.keep_times().map_err(io_error("write the manifest"))?;
    Ok((lock, ledger, times, epochs))
}

/// A place not below any that was given out.
fn last_place(manifest: &Manifest) -> crate::HubId {
    crate::HubId { ms: manifest.times.floor_ms, seq: u64::MAX }
}

/// The standard library's own source of randomness, which seeds its hash maps.
pub(crate) fn random_log_id() -> LogId {
    let half = || RandomState::new().hash_one(()).to_le_bytes();
    let mut id = LogId::default();
    id[..8].copy_from_slice(&half());
    id[8..].copy_from_slice(&half());
    id
}
