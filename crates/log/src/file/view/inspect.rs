use std::io;

use serde::Serialize;

use super::super::cursor::Window;
use super::super::disk::{Disk, DiskFile};
use super::super::layout::{GROUP_HEADER, SEGMENT_HEADER};
use super::super::manifest::State;
use super::segments::{ViewedSegment, next_group};
use super::walk::Visitor;
use super::{LogView, Usage, log_id_text};
use crate::{HubId, RecordView};

/// What a folder holds, by its manifest and the headers of its segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The log's id, in hexadecimal.
    pub log_id: String,
    /// What the manifest says of its last user: `closed`, `open-commit`, `open-os` or `open-memory`.
    pub state: &'static str,
    /// Who uses it now: `nobody`, `a hub` or `a hub in memory`.
    pub used_by: &'static str,
    /// The place at or below which events have been removed.
    pub low_water: HubId,
    /// The last event that is shown; the low-water mark if there is none.
    pub head: HubId,
    /// How many events there are, by the sequences.
    pub events: u64,
    /// No id with more milliseconds has been given out.
    pub floor_ms: u64,
    /// The retention clock when the manifest was written, in milliseconds.
    pub retention_ms: u64,
    /// When the manifest was written: milliseconds since the Unix epoch.
    pub written_ms: u64,
    /// The stretches of ids, oldest first.
    pub epochs: Vec<EpochInfo>,
    /// Oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Other files of the folder, by name, with their bytes.
    pub other_files: Vec<(String, u64)>,
}

/// A stretch of ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EpochInfo {
    /// Its name.
    pub name: String,
    /// A place below all its ids.
    pub first: HubId,
    /// A place not below any of its ids; none while it is the current one.
    pub last: Option<HubId>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its file.
    pub file: String,
    /// The sequence of its first event.
    pub first_sequence: u64,
    /// The sequence of its last event; one less than the first if it has none, none if that is not known.
    pub last_sequence: Option<u64>,
    /// Its first id; none if it has none, or if it cannot be read.
    pub first_id: Option<HubId>,
    /// Its last id, or the place at which it ends.
    pub last_id: Option<HubId>,
    /// How many of its bytes are used; none if that is not known.
    pub used_bytes: Option<u64>,
    /// The length of the file.
    pub file_bytes: u64,
    /// What is wrong with its header, by itself or beside its neighbours.
    pub problem: Option<String>,
    /// The bytes of its index; none if there is none.
    pub index_bytes: Option<u64>,
}

impl<D: Disk> LogView<D> {
    /// What the folder holds. The last segment is read, of the others only the beginnings.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn inspect(&self) -> io::Result<Inspection> {
        let last = self.last_segment()?;
        let segments = (0..self.segments.len()).map(|n| self.segment_info(n, &last)).collect::<io::Result<Vec<_>>>()?;
        let epochs = &self.manifest.epochs;
        let epoch = |(n, epoch): (usize, &super::super::manifest::Epoch)| EpochInfo {
            name: epoch.name.clone(),
            first: epoch.first,
            last: (n + 1 < epochs.len()).then_some(epoch.last),
        };
        let before_first = self.segments.first().map_or(0, |first| first.first_sequence.saturating_sub(1));
        Ok(Inspection {
            log_id: log_id_text(&self.manifest.log_id),
            state: match self.manifest.state {
                State::Closed => "closed",
                State::Commit => "open-commit",
                State::Os(_) => "open-os",
                State::Memory => "open-memory",
            },
            used_by: match self.usage {
                Usage::Stopped => "nobody",
                Usage::Running => "a hub",
                Usage::InMemory => "a hub in memory",
            },
            low_water: self.manifest.low_water,
            head: last.id.max(self.manifest.low_water),
            events: self.through.saturating_sub(before_first),
            floor_ms: self.manifest.times.floor_ms,
            retention_ms: self.manifest.times.retention_ms,
            written_ms: self.manifest.times.wall_ms,
            epochs: epochs.iter().enumerate().map(epoch).collect(),
            segments,
            other_files: self.other_files()?,
        })
    }

    /// How far the last segment goes.
    fn last_segment(&self) -> io::Result<Last> {
        let mut last = Last { id: HubId::ZERO, used_bytes: SEGMENT_HEADER as u64 };
        if let Some(before) = self.segments.last().and_then(ViewedSegment::before) {
            self.walk(before, &mut last)?;
        }
        Ok(last)
    }

    fn segment_info(&self, n: usize, last: &Last) -> io::Result<SegmentInfo> {
        let segment = &self.segments[n];
        let next = self.segments.get(n + 1);
        let is_last = next.is_none();
        let end = next.and_then(|next| next.header.ok()).map(|header| header.before);
        let end = end.filter(|end| end.first_sequence == segment.first_sequence);
        Ok(SegmentInfo {
            file: segment.name.clone(),
            first_sequence: segment.first_sequence,
            last_sequence: if is_last { Some(self.through) } else { end.map(|end| end.sequence) },
            first_id: self.first_id(segment)?,
            last_id: if is_last { Some(last.id).filter(|&id| id > HubId::ZERO) } else { end.map(|end| end.id) },
            used_bytes: if is_last { Some(last.used_bytes) } else { segment.end },
            file_bytes: segment.file_bytes,
            problem: self.problem(n).map(str::to_owned),
            index_bytes: self.length_of(&format!("{:020}.idx", segment.first_sequence))?,
        })
    }

    /// What is wrong with a segment's header.
    fn problem(&self, n: usize) -> Option<&'static str> {
        let segment = &self.segments[n];
        let Ok(header) = segment.header else { return Some("its header is not whole, or of another format") };
        if header.log_id != self.manifest.log_id {
            return Some("it belongs to another log");
        }
        if header.first_sequence != segment.first_sequence || header.before.sequence + 1 != header.first_sequence {
            return Some("its header contradicts its name or itself");
        }
        if header.file_bytes != segment.file_bytes || segment.end.is_some_and(|end| end > segment.file_bytes) {
            return Some("the file is not as long as it should be");
        }
        let is_missing = match n.checked_sub(1).map(|before| &self.segments[before]) {
            Some(before) => header.before.first_sequence != before.first_sequence,
            None => header.before.id != self.manifest.low_water,
        };
        if is_missing {
            return Some("the segment before it is missing");
        }
        (self.missing.is_some() && n + 1 == self.segments.len()).then_some("the segment behind it is missing")
    }

    fn first_id(&self, segment: &ViewedSegment) -> io::Result<Option<HubId>> {
        if segment.first_sequence > self.through {
            return Ok(None);
        }
        let at = SEGMENT_HEADER as u64;
        let end = segment.used_bytes_max();
        let file = match self.disk.open_to_read(&segment.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut window = Window::default();
        let Some((at, header, _)) = next_group(&mut window, &file, at, end, &self.manifest.log_id)? else {
            return Ok(None);
        };
        let body_at = at + GROUP_HEADER as u64;
        if body_at + u64::from(header.body_bytes) > end {
            return Ok(None);
        }
        let body = window.load(&file, body_at, header.body_bytes as usize, end)?;
        Ok(RecordView::parse_first(body).ok().map(|(record, _)| record.id))
    }

    fn other_files(&self) -> io::Result<Vec<(String, u64)>> {
        let mut names = self.disk.list()?;
        names.retain(|name| {
            !["lock", "manifest"].contains(&&**name) && !name.ends_with(".seg") && !name.ends_with(".idx")
        });
        names.sort_unstable();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            if let Some(bytes) = self.length_of(&name)? {
                files.push((name, bytes));
            }
        }
        Ok(files)
    }

    /// The length of a file; `None` if it is not there.
    fn length_of(&self, name: &str) -> io::Result<Option<u64>> {
        match self.disk.open_to_read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened?.length().map(Some),
        }
    }
}

/// What is asked of the last segment.
struct Last {
    id: HubId,
    /// The byte at which its last group ends.
    used_bytes: u64,
}

impl Visitor for Last {
    type Error = io::Error;

    fn record(&mut self, record: &RecordView<'_>) -> io::Result<()> {
        self.id = record.id;
        Ok(())
    }

    fn damage(&mut self, _: &str, _: u64, _: &'static str) {}

    fn removed(&mut self, _: HubId) {}

    fn progress(&mut self, _: u64) {}

    fn group(&mut self, end: u64) {
        self.used_bytes = end;
    }
}
