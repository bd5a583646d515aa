//! A log's folder, read by others than the hub: nothing is written there, and no lock is taken.

mod inspect;
mod segments;
#[cfg(test)]
mod tests;
mod verify;
mod walk;

use std::io;

use super::disk::{Disk, Holder, RealDisk};
use super::folder::IMPORTING;
use super::manifest::{BadManifest, MANIFEST, MANIFEST_FORMAT, Manifest, State};
use super::note::Note;
use super::open_error::OpenError;
use super::tombstone_file::{self, TOMBSTONES};
use crate::HubId;
use crate::tombstones::Tombstones;
use segments::ViewedSegment;

pub use inspect::{EpochInfo, Inspection, SegmentInfo};
pub(crate) use verify::Damages;
pub use verify::{DAMAGES_LISTED_MAX, Finding, Verification};
pub(crate) use walk::Visitor;

/// How often a folder is looked at anew because it changed meanwhile.
const LOOKS_MAX: u32 = 100;

/// A log's folder as it was when it was looked at. It can be read while a hub runs on it, to the event
/// that was committed last then; and while none does, to the last that is whole.
#[derive(Debug)]
pub struct LogView<D: Disk = RealDisk> {
    disk: D,
    manifest: Manifest,
    usage: Usage,
    /// The last sequence that is shown.
    through: u64,
    /// Oldest first.
    segments: Vec<ViewedSegment>,
    /// A segment that is missing behind them.
    missing: Option<String>,
    /// What was erased before it was looked at.
    tombstones: Tombstones,
}

/// Who uses a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Nobody.
    Stopped,
    /// A hub that writes to it.
    Running,
    /// A hub whose events are in memory only. What lies in the folder is from before.
    InMemory,
}

/// Why a folder cannot be read as a log's.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// There is no log.
    #[error("there is no log in the folder: it has no manifest")]
    NoLog,
    /// An import has not ended.
    #[error("an import into the folder is under way, or did not end: run it again")]
    Importing,
    /// A hub is starting, or ends.
    #[error("a process has the folder and does not say yet how far it is committed: try again in a moment")]
    NotReady,
    /// The manifest is not what was written.
    #[error("the manifest is damaged: its checksum is wrong")]
    Damaged,
    /// The file of tombstones is not what was written: what was erased cannot be told from the rest.
    #[error("the tombstones are damaged: put the file back from a copy")]
    Tombstones,
    /// A newer version wrote the folder.
    #[error("{file} has format {found}, and this version reads format {expected}: use the version that wrote it")]
    OtherFormat {
        /// The file.
        file: &'static str,
        /// Its format.
        found: u32,
        /// The format that this version reads.
        expected: u32,
    },
    /// The folder changed faster than it could be looked at.
    #[error("the folder changes faster than it can be read")]
    Changing,
    /// The disk failed.
    #[error("failed to read the folder")]
    Io(#[from] io::Error),
}

impl<D: Disk> LogView<D> {
    /// Looks at a folder.
    ///
    /// # Errors
    /// When it holds no log, the log is of another format, or the disk fails. Damaged segments are no error
    /// here: reading meets them.
    pub fn open(disk: D) -> Result<LogView<D>, ViewError> {
        let mut why = ViewError::Changing;
        for _ in 0..LOOKS_MAX {
            // First how far it is committed: what was committed by then is among the files seen later.
            let holder = disk.holder()?;
            let manifest = match read_manifest(&disk) {
                // An import has neither, and then both for a moment.
                Err(ViewError::NoLog) if disk.list()?.iter().any(|name| name == IMPORTING) => {
                    return Err(ViewError::Importing);
                }
                read => read?,
            };
            let (usage, committed) = match &holder {
                Holder::Nobody => (Usage::Stopped, None),
                Holder::Process(note) => match Note::decode(note) {
                    Some(note) if note.log_id == manifest.log_id => (Usage::Running, Some(note.sequence)),
                    _ if manifest.state == State::Memory => (Usage::InMemory, None),
                    // It may be half written: a hub that commits writes it over and over.
                    _ => {
                        why = ViewError::NotReady;
                        continue;
                    }
                },
            };
            let Some(mut segments) = segments::list(&disk, &manifest)? else { continue };
            let tombstones = read_tombstones(&disk, &manifest)?;
            let mut missing = None;
            let through = match committed {
                Some(sequence) => Some(sequence),
                None => {
                    missing = segments::missing(&disk, &manifest, &mut segments)?;
                    let whole = segments::last_whole(&disk, &manifest, &tombstones, &segments)?;
                    whole.map(|through| missing.as_ref().map_or(through, |missing| missing.last))
                }
            };
            // What was whole while nobody wrote stays when somebody begins to.
            let is_same = committed.is_some() || (disk.holder()? == Holder::Nobody) == (usage == Usage::Stopped);
            if let Some(through) = through.filter(|_| is_same) {
                // Some may have been made since.
                let segments: Vec<_> = segments
                    .into_iter()
                    .filter(|segment| segment.first_sequence <= through.saturating_add(1))
                    .collect();
                let missing = missing.map(|missing| missing.file);
                return Ok(LogView { disk, manifest, usage, through, segments, missing, tombstones });
            }
        }
        Err(why)
    }

    /// Who used the folder when it was looked at.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// How many bytes of records there are to read, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(ViewedSegment::used_bytes_max).sum()
    }

    /// Adds to `erased` what was erased since it was read: a hub goes on erasing. What a hub has forgotten meanwhile,
    /// because it removed what that was for, may still be read here.
    fn learn_erased(&self, erased: &mut Tombstones) -> io::Result<()> {
        let now = read_tombstones(&self.disk, &self.manifest).map_err(io::Error::other)?;
        now.iter().for_each(|(tombstone, bytes)| erased.put(&tombstone, bytes));
        Ok(())
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The place after which the records of the segments lie.
    pub(crate) fn first_place(&self) -> HubId {
        self.manifest.low_water
    }
}

/// The manifest of a folder.
pub(super) fn read_manifest<D: Disk>(disk: &D) -> Result<Manifest, ViewError> {
    Manifest::read(disk).map_err(|bad| match bad {
        BadManifest::Absent => ViewError::NoLog,
        BadManifest::Damaged => ViewError::Damaged,
        BadManifest::OtherFormat(found) => ViewError::OtherFormat { file: MANIFEST, found, expected: MANIFEST_FORMAT },
        BadManifest::Io(error) => ViewError::Io(error),
    })
}

fn read_tombstones<D: Disk>(disk: &D, manifest: &Manifest) -> Result<Tombstones, ViewError> {
    match tombstone_file::read(disk, &manifest.log_id, manifest.low_water) {
        Ok(found) => Ok(found.tombstones),
        Err(OpenError::Io { source, .. }) => Err(ViewError::Io(source)),
        Err(OpenError::OtherFormat { found, expected, .. }) => {
            Err(ViewError::OtherFormat { file: TOMBSTONES, found, expected })
        }
        Err(_) => Err(ViewError::Tombstones),
    }
}

/// A log's id as it is told.
pub(crate) fn log_id_text(log_id: &super::layout::LogId) -> String {
    log_id.iter().map(|byte| format!("{byte:02x}")).collect()
}
