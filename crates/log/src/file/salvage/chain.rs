use super::super::disk::{Disk, DiskFile};
use super::super::layout::{SEGMENT_HEADER, SegmentEnd, SegmentHeader, segment_name};
use super::super::open_error::OpenError;
use super::super::recovery::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, io_error};
use super::super::segments::{create_segment, sparse_segment};
use super::survey::survey;
use super::{Between, Piece, Salvage, Salvaged};
use crate::HubId;

/// Where a segment ends, as far as that can be seen in it.
struct End {
    /// All of its bytes where the end is not seen.
    length: u64,
    /// Its last id, if all sequences up to the next segment's are there.
    id: Option<HubId>,
    retention_ms: u64,
}

impl<D: Disk> Salvage<'_, D> {
    /// Brings the low-water mark and the first segment together.
    pub(super) fn begin_chain(&mut self) -> Result<(), OpenError> {
        let low_water = self.manifest.low_water;
        let is_below = |piece: &Piece<D::File>| piece.header.is_some_and(|header| header.before.id <= low_water);
        if let Some(mut begun) = self.pieces.iter().rposition(is_below) {
            // The segment that began at the mark is missing, and what is before it was being removed.
            let is_short = self.pieces[begun].header.is_some_and(|header| header.before.id < low_water);
            begun += usize::from(is_short && begun + 1 < self.pieces.len());
            let failed = io_error("remove an old segment");
            for piece in self.pieces.drain(..begun) {
                self.disk.unlink(&piece.name).map_err(&failed)?;
            }
            self.disk.sync_names().map_err(&failed)?;
        }
        let first = &self.pieces[0];
        let first_sequence = first.first_sequence;
        let mut is_lost = false;
        let header = match first.header {
            Some(header) => header,
            None => {
                is_lost = true;
                // Before the first record of all, nothing can be missing.
                let place = if first_sequence == 1 { low_water } else { self.first_place()?.max(low_water) };
                let retention_ms = self.manifest.times.retention_ms;
                let before =
                    SegmentEnd { sequence: first_sequence - 1, id: place, retention_ms, ..SegmentEnd::default() };
                self.new_header(0, before)?
            }
        };
        if header.before.id > low_water {
            let file = self.pieces[0].name.clone();
            self.manifest.low_water = header.before.id;
            self.write_manifest()?;
            let ids = Between { last: low_water, next: self.next_good(0)? };
            self.done.push(Salvaged::Beginning { file, ids });
        }
        if is_lost { self.put_header(0, header) } else { Ok(()) }
    }

    /// Makes each segment follow on the one before it.
    pub(super) fn link_chain(&mut self) -> Result<(), OpenError> {
        let mut index = 1;
        while index < self.pieces.len() {
            let before = &self.pieces[index - 1];
            let own = self.pieces[index].header.map(|header| header.before).filter(|own| {
                let first_sequence = self.pieces[index].first_sequence;
                own.sequence == first_sequence - 1
                    && (before.first_sequence..first_sequence).contains(&own.first_sequence)
                    && (SEGMENT_HEADER as u64..=SEGMENT_BYTES_MAX).contains(&own.length)
            });
            match own {
                Some(own) if own.first_sequence == before.first_sequence => self.lengthen(index - 1, &own)?,
                Some(own) => {
                    self.fill_hole(index, own.first_sequence, own.length, own.id)?;
                    index += 1;
                }
                None => index += self.remake_header(index)?,
            }
            index += 1;
        }
        Ok(())
    }

    /// The place before the first segment, as far as it can be seen.
    pub(super) fn first_place(&mut self) -> Result<HubId, OpenError> {
        match (self.pieces[0].header, self.place_before(0)?) {
            (Some(header), _) => Ok(header.before.id),
            (None, Some(place)) => Ok(place),
            (None, None) => Ok(HubId { ms: self.manifest.times.floor_ms, seq: 0 }),
        }
    }

    /// Makes the header of a piece anew, from what is before and in it. Returns how many pieces were put before it.
    fn remake_header(&mut self, index: usize) -> Result<usize, OpenError> {
        let first_sequence = self.pieces[index].first_sequence;
        let end = self.end_before(index - 1, first_sequence)?;
        let id = match end.id {
            Some(id) => id,
            None => self.place_or_epoch(index)?,
        };
        let last_sequence = self.survey(index - 1)?.last().map(super::survey::Found::last_sequence);
        let (put, before) = match last_sequence {
            // Nothing in the segment before tells whoever reads over it that something is missing.
            Some(last) if end.id.is_none() && last + 1 < first_sequence && self.ends_whole(index - 1)? => {
                self.fill_hole(index, last + 1, SEGMENT_BYTES_MIN, id)?;
                (1, SegmentEnd { first_sequence: last + 1, length: SEGMENT_BYTES_MIN, ..SegmentEnd::default() })
            }
            _ => {
                let before = self.pieces[index - 1].first_sequence;
                (0, SegmentEnd { first_sequence: before, length: end.length, ..SegmentEnd::default() })
            }
        };
        let before = SegmentEnd { sequence: first_sequence - 1, id, retention_ms: end.retention_ms, ..before };
        let index = index + put;
        let header = self.new_header(index, before)?;
        self.lengthen(index - 1, &before)?;
        self.put_header(index, header)?;
        Ok(put)
    }

    /// Whether the last group of a piece ends with its file.
    fn ends_whole(&self, index: usize) -> Result<bool, OpenError> {
        let length = self.file_length(index)?;
        Ok(self.survey(index)?.last().is_some_and(|group| group.end >= length))
    }

    /// Puts a file of zeros in place of what is missing before a piece.
    fn fill_hole(&mut self, index: usize, first_sequence: u64, length: u64, through: HubId) -> Result<(), OpenError> {
        let failed = io_error("put a file of zeros in place of a missing segment");
        let end = self.end_before(index - 1, first_sequence)?;
        let before = SegmentEnd {
            first_sequence: self.pieces[index - 1].first_sequence,
            sequence: first_sequence - 1,
            id: end.id.unwrap_or(through),
            length: end.length,
            retention_ms: end.retention_ms,
        };
        self.lengthen(index - 1, &before)?;
        let file_bytes = length.max(SEGMENT_BYTES_MIN);
        let header = SegmentHeader { log_id: self.manifest.log_id, first_sequence, file_bytes, before };
        let new = sparse_segment(self.disk, file_bytes).map_err(&failed)?;
        let file = create_segment(self.disk, new, &header).map_err(|error| failed(error.into_source()))?;
        let name = segment_name(first_sequence);
        let ids = self.between(index)?;
        self.done.push(Salvaged::Gone { file: name.clone(), from_byte: 0, to_byte: length, ids });
        let piece = Piece { name, first_sequence, file, header: Some(header) };
        self.pieces.insert(index, piece);
        Ok(())
    }

    /// Makes a piece as long as the next one says. What was cut off is gone.
    pub(super) fn lengthen(&mut self, index: usize, end: &SegmentEnd) -> Result<(), OpenError> {
        let length = self.file_length(index)?;
        if length >= end.length {
            return Ok(());
        }
        let failed = io_error("make a short segment longer");
        let piece = &self.pieces[index];
        piece.file.truncate(end.length).and_then(|()| piece.file.sync()).map_err(failed)?;
        let file = piece.name.clone();
        let ids = self.between(index + 1)?;
        self.done.push(Salvaged::Gone { file, from_byte: length, to_byte: end.length, ids });
        Ok(())
    }

    /// Between which ids something is gone that lay before this piece, or between it and the one before.
    fn between(&self, index: usize) -> Result<Between, OpenError> {
        Ok(Between { last: self.last_good(index)?, next: self.next_good(index)? })
    }

    /// The last id that can be read before a piece; else the place with which the log begins.
    pub(super) fn last_good(&self, index: usize) -> Result<HubId, OpenError> {
        for index in (0..index).rev() {
            let groups = self.survey(index)?;
            if let Some((id, _)) = groups.iter().rev().filter(|group| group.is_whole).find_map(|group| group.last) {
                return Ok(id);
            }
        }
        Ok(self.manifest.low_water)
    }

    /// The first id that can be read in a piece or behind it.
    fn next_good(&self, index: usize) -> Result<Option<HubId>, OpenError> {
        for index in index..self.pieces.len() {
            let groups = self.survey(index)?;
            if let Some(id) = groups.iter().filter(|group| group.is_whole).find_map(|group| group.first_id) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Where a piece ends, before the one that begins with `next_sequence`.
    fn end_before(&self, index: usize, next_sequence: u64) -> Result<End, OpenError> {
        let piece = &self.pieces[index];
        let groups = survey(&piece.file, &self.manifest.log_id, &self.tombstones, piece.first_sequence, next_sequence)
            .map_err(io_error("look for what can be read in a segment"))?;
        let header_before = piece.header.map(|header| header.before).unwrap_or_default();
        let seen = groups.iter().filter_map(|group| group.last).max();
        let retention_ms = seen.map_or(header_before.retention_ms, |(_, retention_ms)| retention_ms);
        let last = groups.last().filter(|last| last.last_sequence() == next_sequence - 1);
        let length = match last {
            Some(last) => last.end,
            None => self.file_length(index)?.clamp(SEGMENT_HEADER as u64 + 1, SEGMENT_BYTES_MAX),
        };
        Ok(End { length, id: last.and_then(|last| last.last).map(|(id, _)| id), retention_ms })
    }

    /// A place before the first record of a piece and after those that are before it, if one can be seen.
    fn place_before(&self, index: usize) -> Result<Option<HubId>, OpenError> {
        for index in index..self.pieces.len() {
            if let Some(first_id) = self.survey(index)?.iter().find_map(|group| group.first_id) {
                return Ok(first_id.before());
            }
            if let Some(header) = self.pieces.get(index + 1).and_then(|next| next.header) {
                return Ok(Some(header.before.id));
            }
        }
        Ok(None)
    }

    fn place_or_epoch(&mut self, index: usize) -> Result<HubId, OpenError> {
        match self.place_before(index)? {
            Some(place) => Ok(place),
            None => self.begin_epoch(),
        }
    }

    fn new_header(&self, index: usize, before: SegmentEnd) -> Result<SegmentHeader, OpenError> {
        let file_bytes = self.file_length(index)?.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let first_sequence = self.pieces[index].first_sequence;
        Ok(SegmentHeader { log_id: self.manifest.log_id, first_sequence, file_bytes, before })
    }

    fn put_header(&mut self, index: usize, header: SegmentHeader) -> Result<(), OpenError> {
        let failed = io_error("write a segment's header anew");
        let piece = &mut self.pieces[index];
        piece.file.write_at(&header.encode(), 0).and_then(|()| piece.file.sync()).map_err(failed)?;
        piece.header = Some(header);
        self.done.push(Salvaged::Header { file: piece.name.clone() });
        self.is_last_remade = index + 1 == self.pieces.len();
        Ok(())
    }

    pub(super) fn file_length(&self, index: usize) -> Result<u64, OpenError> {
        self.pieces[index].file.length().map_err(io_error("read a segment's length"))
    }
}
