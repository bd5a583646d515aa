//! Going on without what is damaged: the folder is brought into a state in which the log opens as it does
//! after any stop, and in which whoever reads over what is gone is told.
//!
//! Each step is durable before the next, and each state between two steps is one that salvage takes up again.

mod chain;
mod seal;
mod survey;

use std::collections::BTreeSet;
use std::fmt;

use super::disk::Disk;
use super::index::parse_index_name;
use super::layout::{LogId, SegmentHeader, parse_segment_name, segment_name};
use super::manifest::{Epoch, Manifest, State};
use super::open::Opening;
use super::open_error::OpenError;
use super::recovery::{self, io_error, read_header, read_manifest};
use super::tombstone_file;
use crate::HubId;
use crate::times::{FLOOR_AHEAD_MS, KeptTimes};
use crate::tombstones::Tombstones;

/// What to do where the log is damaged so that it cannot be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Open nothing, and change nothing.
    #[default]
    Stop,
    /// Go on without what is damaged. Readers are told where something is gone.
    Salvage,
}

/// What salvage has done. Its text says what is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Salvaged {
    /// The manifest was made anew from the segments.
    Manifest {
        /// The first place of the epoch that was begun.
        epoch: HubId,
    },
    /// A segment's header was made anew.
    Header {
        /// The segment's file.
        file: String,
    },
    /// Something in a file, or all of it, cannot be read.
    Gone {
        /// The file.
        file: String,
        /// The byte at which it begins.
        from_byte: u64,
        /// The byte behind it.
        to_byte: u64,
        /// Between which ids events are gone.
        ids: Between,
    },
    /// The log's first segments are missing.
    Beginning {
        /// The file with which the log begins now.
        file: String,
        /// Between which ids events are gone; the first is a place where there is no event any more.
        ids: Between,
    },
    /// The log's last segments are missing.
    Newest {
        /// The first file that is missing, or one behind it.
        file: String,
        /// Between which ids events are gone.
        ids: Between,
    },
}

/// Where events are gone that cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Between {
    /// The last id before it that is there.
    pub last: HubId,
    /// The first id behind it that is there; none at the end of the log.
    pub next: Option<HubId>,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Between { last, next: Some(next) } => write!(f, "events between {last} and {next}"),
            Between { last, next: None } => write!(f, "events between {last} and the end"),
        }
    }
}

impl fmt::Display for Salvaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Salvaged::Manifest { epoch } => write!(f, "the manifest was made anew; ids go on after {epoch}"),
            Salvaged::Header { file } => write!(f, "the header of {file} was made anew"),
            Salvaged::Gone { file, from_byte, to_byte, ids } => {
                write!(f, "gone: {ids} ({file}, bytes {from_byte} to {to_byte})")
            }
            Salvaged::Beginning { file, ids } => {
                write!(f, "gone: {ids} (the files before {file} are missing)")
            }
            Salvaged::Newest { file, ids } => write!(f, "gone: {ids} ({file} is missing, and what came behind it)"),
        }
    }
}

/// A segment's file, and what its header says if it says anything.
struct Piece<F> {
    name: String,
    first_sequence: u64,
    file: F,
    header: Option<SegmentHeader>,
}

/// A folder that is being brought in order.
struct Salvage<'a, D: Disk> {
    disk: &'a D,
    now_ms: u64,
    manifest: Manifest,
    tombstones: Tombstones,
    pieces: Vec<Piece<D::File>>,
    /// The first sequences of the segments that have an index.
    indexes: BTreeSet<u64>,
    /// Whether the last one's header was made anew.
    is_last_remade: bool,
    done: Vec<Salvaged>,
}

/// Brings a locked folder in order, as far as what was written there allows.
///
/// # Errors
/// When the disk fails, or the folder holds what another log or a newer version wrote, or a file under
/// another's name.
pub(super) fn mend<D: Disk>(disk: &D, opening: &Opening, now_ms: u64) -> Result<Vec<Salvaged>, OpenError> {
    let Some(mut salvage) = Salvage::begin(disk, opening.new_log_id, now_ms)? else { return Ok(Vec::new()) };
    if !salvage.pieces.is_empty() {
        salvage.begin_chain()?;
        salvage.link_chain()?;
        salvage.seal_last(opening.segment_bytes)?;
    }
    Ok(salvage.done)
}

/// Brings the manifest of a locked folder in order, and leaves alone what else is there.
///
/// # Errors
/// As those of [`mend`].
pub(super) fn mend_manifest<D: Disk>(disk: &D, new_log_id: LogId, now_ms: u64) -> Result<Vec<Salvaged>, OpenError> {
    Ok(Salvage::begin(disk, new_log_id, now_ms)?.map(|salvage| salvage.done).unwrap_or_default())
}

impl<'a, D: Disk> Salvage<'a, D> {
    /// Looks at what is there, and makes a manifest if there is none. Nothing where there is no log yet.
    fn begin(disk: &'a D, new_log_id: LogId, now_ms: u64) -> Result<Option<Salvage<'a, D>>, OpenError> {
        disk.sync_names().map_err(io_error("sync the folder"))?;
        let names = disk.list().map_err(io_error("list the folder"))?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
        firsts.sort_unstable();
        let manifest = match read_manifest(disk) {
            Ok(None) if firsts.is_empty() || recovery::is_unused(disk, &firsts)? => return Ok(None),
            Ok(manifest) => manifest,
            Err(OpenError::BadManifest) => None,
            Err(other) => return Err(other),
        };
        if manifest.as_ref().is_some_and(|manifest| firsts.is_empty() || manifest.low_water == HubId::ZERO) {
            return Ok(None);
        }
        let pieces = firsts.into_iter().map(|first| open_piece(disk, first)).collect::<Result<Vec<_>, _>>()?;
        let log_id = own_log_id(manifest.as_ref(), &pieces, new_log_id)?;
        let is_new = manifest.is_none();
        let manifest = manifest.unwrap_or_else(|| unknown_manifest(log_id, now_ms));
        // Without them, what was erased would be shown again: they are never gone on without.
        let tombstones = tombstone_file::read(disk, &log_id, manifest.low_water)?.tombstones;
        let indexes = names.iter().filter_map(|name| parse_index_name(name)).collect();
        let (is_last_remade, done) = (false, Vec::new());
        let mut salvage = Salvage { disk, now_ms, manifest, tombstones, pieces, indexes, is_last_remade, done };
        if is_new {
            salvage.remake_manifest()?;
        }
        Ok(Some(salvage))
    }
}

impl<D: Disk> Salvage<'_, D> {
    /// Makes a manifest durable in place of one that is gone. What it listed as epochs is one from here on.
    fn remake_manifest(&mut self) -> Result<(), OpenError> {
        let mut last_id = HubId::ZERO;
        let mut retention_ms = self.now_ms;
        for index in (0..self.pieces.len()).rev() {
            let before = self.pieces[index].header.map(|header| header.before);
            last_id = last_id.max(before.map_or(HubId::ZERO, |before| before.id));
            let newest = self.survey(index)?.iter().filter_map(|group| group.last).max();
            if let Some((id, record_ms)) = newest {
                last_id = last_id.max(id);
                retention_ms = retention_ms.max(record_ms);
                // What is older has lower ids.
                break;
            }
        }
        let floor_ms = last_id.ms.max(self.now_ms.saturating_add(FLOOR_AHEAD_MS));
        self.manifest.times = KeptTimes { floor_ms, retention_ms, wall_ms: self.now_ms };
        if !self.pieces.is_empty() {
            self.manifest.low_water = self.first_place()?;
            self.manifest.epochs[0].first = self.manifest.low_water;
        }
        self.manifest.begin_epoch(last_id, self.now_ms);
        self.write_manifest()?;
        self.done.push(Salvaged::Manifest { epoch: self.manifest.epoch().first });
        Ok(())
    }

    /// Begins an epoch, durably: nobody can say which ids were given out last. Returns its first place.
    fn begin_epoch(&mut self) -> Result<HubId, OpenError> {
        let last = HubId { ms: self.manifest.times.floor_ms, seq: u64::MAX };
        self.manifest.begin_epoch(last, self.now_ms);
        self.write_manifest()?;
        Ok(self.manifest.epoch().first)
    }

    fn write_manifest(&self) -> Result<(), OpenError> {
        self.manifest.write(self.disk).map_err(io_error("write the manifest"))
    }

    /// The groups that can be found in a piece.
    fn survey(&self, index: usize) -> Result<Vec<survey::Found>, OpenError> {
        let piece = &self.pieces[index];
        let limit = self.pieces.get(index + 1).map_or(u64::MAX, |next| next.first_sequence);
        survey::survey(&piece.file, &self.manifest.log_id, &self.tombstones, piece.first_sequence, limit)
            .map_err(io_error("look for what can be read in a segment"))
    }
}

/// What is known where there is no manifest.
fn unknown_manifest(log_id: LogId, now_ms: u64) -> Manifest {
    let mut manifest = Manifest::new(log_id, now_ms);
    manifest.state = State::Closed;
    manifest.epochs = vec![Epoch { name: "1".to_owned(), first: HubId::ZERO, last: HubId::ZERO }];
    manifest
}

fn open_piece<D: Disk>(disk: &D, first_sequence: u64) -> Result<Piece<D::File>, OpenError> {
    let name = segment_name(first_sequence);
    let file = disk.open(&name).map_err(io_error("open a segment"))?;
    let header = match read_header(&file, &name, first_sequence) {
        Ok(header) => Some(header),
        Err(OpenError::Damaged { .. }) => None,
        Err(other) => return Err(other),
    };
    Ok(Piece { name, first_sequence, file, header })
}

/// Which log this is: what the manifest says, else what the segments say.
fn own_log_id<F>(manifest: Option<&Manifest>, pieces: &[Piece<F>], new_log_id: LogId) -> Result<LogId, OpenError> {
    let named = pieces.iter().find_map(|piece| piece.header.map(|header| header.log_id));
    let own = match (manifest, named) {
        (Some(manifest), _) => manifest.log_id,
        (None, Some(log_id)) => log_id,
        // Nothing lies there but a damaged manifest.
        (None, None) if pieces.is_empty() => new_log_id,
        (None, None) => return Err(OpenError::Nameless),
    };
    let foreign = pieces.iter().find(|piece| piece.header.is_some_and(|header| header.log_id != own));
    match foreign {
        Some(piece) => Err(OpenError::OtherLog { file: piece.name.clone() }),
        None => Ok(own),
    }
}
