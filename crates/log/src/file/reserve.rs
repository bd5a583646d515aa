//! A file that holds room for one manifest. On a full disk the low-water mark could not be moved without it, and
//! so retention would never make room.

use std::io;

use super::disk::{Disk, DiskFile};
use super::manifest::{MANIFEST, Manifest};

/// The reserve's name in the folder.
const RESERVE: &str = "reserve";
/// Its name until it is whole.
const RESERVE_NEW: &str = "reserve.tmp";
/// How long it is made, in bytes: the longest manifest is shorter. An index is as long at least.
const RESERVE_BYTES: usize = 8192;

/// Makes the reserve, unless it is there. Its room is its own from then on.
///
/// # Errors
/// When the disk fails or is full; it can be tried again.
pub(super) fn make<D: Disk>(disk: &D) -> io::Result<()> {
    // One that a crash has left may have been cut too short already, or still be the whole index that it was.
    match disk.open_to_read(RESERVE).and_then(|file| file.length()) {
        Ok(length) if length == RESERVE_BYTES as u64 => return Ok(()),
        Ok(length) if length > RESERVE_BYTES as u64 => return cut(disk),
        _ => {}
    }
    let file = disk.create(RESERVE_NEW)?;
    let filled = file.write_at(&[0; RESERVE_BYTES], 0).and_then(|()| file.sync());
    filled.and_then(|()| disk.rename(RESERVE_NEW, RESERVE)).inspect_err(|_| {
        // What is left is removed at the next start.
        drop(disk.unlink(RESERVE_NEW));
    })
}

/// Makes the reserve of a file of the log that is to be removed: an index, whose bytes are all in use.
///
/// # Errors
/// When it is not there, or the disk fails.
pub(super) fn make_of<D: Disk>(disk: &D, name: &str) -> io::Result<()> {
    disk.rename(name, RESERVE)?;
    cut(disk)
}

/// Takes from a reserve what it said as a file of the log, and what it has too much. That needs no room.
fn cut<D: Disk>(disk: &D) -> io::Result<()> {
    let file = disk.open(RESERVE)?;
    file.write_at(&[0; RESERVE_BYTES], 0)?;
    file.truncate(RESERVE_BYTES as u64)
}

/// Puts a manifest in place of the one that is there, as [`Manifest::write`] does, and takes no room for it but the
/// reserve's, which is gone then.
///
/// # Errors
/// When there is no reserve, or the disk fails; then one of the two manifests is there.
pub(super) fn spend<D: Disk>(disk: &D, manifest: &Manifest) -> io::Result<()> {
    let bytes = manifest.encode();
    let file = disk.open(RESERVE)?;
    if file.length()? < bytes.len() as u64 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    file.write_at(&bytes, 0)?;
    file.truncate(bytes.len() as u64)?;
    file.sync()?;
    disk.rename(RESERVE, MANIFEST)?;
    disk.sync_names()
}

#[cfg(test)]
mod tests {
    use super::super::SimDisk;
    use super::super::manifest::EPOCHS_MAX;
    use super::*;
    use crate::HubId;

    fn longest() -> Manifest {
        let mut manifest = Manifest::new(*b"0123456789abcdef", 5);
        for _ in 0..=EPOCHS_MAX {
            manifest.begin_epoch(HubId::ZERO, u64::MAX / 2);
            manifest.epochs.last_mut().expect("begun").name = (u64::MAX - 1).to_string();
        }
        manifest
    }

    #[test]
    fn the_longest_manifest_fits_and_needs_no_room() {
        let disk = SimDisk::default();
        Manifest::new(*b"0123456789abcdef", 5).write(&disk).expect("written");
        make(&disk).expect("made");
        disk.set_space(Some(0));
        let manifest = longest();
        assert!(manifest.write(&disk).is_err());
        spend(&disk, &manifest).expect("written");
        assert_eq!(Manifest::read(&disk).expect("whole"), manifest);
        assert!(spend(&disk, &manifest).is_err() && make(&disk).is_err(), "it is spent, and there is no room");
        assert!(!disk.names().contains(&RESERVE_NEW.to_owned()), "what would be left takes room as well");
        disk.put("old.idx", vec![1; RESERVE_BYTES]);
        make_of(&disk, "old.idx").expect("there");
        make(&disk).expect("it is there");
        spend(&disk, &manifest).expect("written");
    }

    /// An index may take tens of megabytes, and names the topics of what retention has removed.
    #[test]
    fn a_reserve_that_was_an_index_is_as_long_as_any_and_says_nothing() {
        let disk = SimDisk::default();
        disk.put("old.idx", vec![1; 100 * RESERVE_BYTES]);
        make_of(&disk, "old.idx").expect("there");
        let reserve = disk.contents(RESERVE).expect("there");
        assert_eq!(reserve.len(), RESERVE_BYTES);
        assert!(reserve.iter().all(|&byte| byte == 0));
        // Killed between its new name and the cut.
        disk.put(RESERVE, vec![1; 100 * RESERVE_BYTES]);
        make(&disk).expect("there");
        assert_eq!(disk.contents(RESERVE).expect("there"), vec![0; RESERVE_BYTES]);
    }

    #[test]
    fn after_a_crash_either_manifest_is_there() {
        let manifest = longest();
        for (stop_at, seed) in (1..10).flat_map(|stop_at| (0..10).map(move |seed| (stop_at, seed))) {
            let disk = SimDisk::default();
            let before = Manifest::new(*b"0123456789abcdef", 5);
            before.write(&disk).expect("written");
            make(&disk).and_then(|()| disk.sync_names()).expect("made");
            disk.stop_at(disk.operations() + stop_at);
            let spent = spend(&disk, &manifest).is_ok();
            let disk = disk.restart(super::super::Outage::PowerCut(seed));
            let found = Manifest::read(&disk).expect("whole");
            assert!(found == manifest || (!spent && found == before), "stopped at {stop_at}, seed {seed}");
        }
    }
}
