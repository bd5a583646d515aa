use super::super::disk::{Disk, DiskFile};
use super::super::index::index_name;
use super::super::layout::{GROUP_HEADER, SEGMENT_HEADER, SegmentEnd, SegmentHeader};
use super::super::missing::Missing;
use super::super::open_error::OpenError;
use super::super::recovery::io_error;
use super::super::search::has_bad_sector;
use super::super::segments::{create_segment, fill_segment, rewrite};
use super::survey::Found;
use super::{Between, Salvage, Salvaged};
use crate::HubId;

/// What of the last segment stays.
struct Kept {
    /// How many of its groups, in order.
    groups: usize,
    /// Where it ends from now on.
    length: u64,
    /// The last sequence that lies in it, or lay.
    sequence: u64,
    /// The last id in it; none if that cannot be known.
    last: Option<(HubId, u64)>,
}

impl<D: Disk> Salvage<'_, D> {
    /// Ends the last segment where what was acknowledged ends, if that is not where recovery would say, and
    /// begins another. Readers of it are told what is gone; nothing in it is changed.
    pub(super) fn seal_last(&mut self, segment_bytes: u64) -> Result<(), OpenError> {
        let index = self.pieces.len() - 1;
        let Some(header) = self.pieces[index].header else { return Ok(()) };
        let missing = Missing::behind(self.disk, &header.log_id, header.first_sequence, &self.indexes);
        if let Some(missing) = missing.map_err(io_error("read an index"))? {
            return self.seal_before_missing(&header, missing, segment_bytes);
        }
        let groups = self.survey(index)?;
        let has_bad_sector = has_bad_sector(&self.pieces[index].file).map_err(io_error("read the last segment"))?;
        let Some(kept) = self.kept(&header, &groups, has_bad_sector)? else { return Ok(()) };
        let (id, retention_ms) = match kept.last {
            Some(last) => last,
            None => (self.begin_epoch()?, header.before.retention_ms),
        };
        let before = SegmentEnd {
            first_sequence: header.first_sequence,
            sequence: kept.sequence,
            id,
            length: kept.length,
            retention_ms,
        };
        self.tell(&groups[..kept.groups], &before)?;
        let known = self.done.len();
        self.lengthen(index, &before)?;
        // That was told with the rest.
        self.done.truncate(known);
        let file = &self.pieces[index].file;
        let failed = io_error("sync the last segment");
        if let Some(last) = groups[..kept.groups].last().filter(|last| last.is_whole) {
            rewrite(file, last.at, last.end).map_err(&failed)?;
        }
        file.sync().map_err(&failed)?;
        self.go_on_after(before, segment_bytes)
    }

    /// Ends the last segment where it had ended when others came behind it, which are missing, and begins another
    /// with an epoch: nobody can say which ids they held. What lies behind that end is not looked at: it was refused.
    fn seal_before_missing(
        &mut self,
        header: &SegmentHeader,
        missing: Missing,
        segment_bytes: u64,
    ) -> Result<(), OpenError> {
        let index = self.pieces.len() - 1;
        let mut groups = self.survey(index)?;
        groups.retain(|group| group.last_sequence() <= missing.last);
        if let Some(end) = missing.end {
            groups.retain(|group| group.end <= end.length);
        }
        let seen = groups.iter().rev().filter(|group| group.is_whole).find_map(|group| group.last);
        let last = seen.map_or_else(|| self.last_good(index), |(id, _)| Ok(id))?;
        let seen_length = groups.last().map_or(SEGMENT_HEADER as u64, |group| group.end);
        let before = SegmentEnd {
            first_sequence: header.first_sequence,
            sequence: groups.last().map_or(0, Found::last_sequence).max(missing.sequence),
            id: self.begin_epoch()?,
            length: missing.end.map_or(seen_length, |end| end.length),
            retention_ms: seen.map_or(header.before.retention_ms, |(_, retention_ms)| retention_ms),
        };
        self.done.push(Salvaged::Newest { file: missing.file, ids: Between { last, next: None } });
        self.lengthen(index, &before)?;
        if missing.end.is_some() {
            // One of them may have the name that the index of the new segment will have. The one of the last
            // segment says what is missing until the new one is there.
            let failed = io_error("remove the index of a missing segment");
            for &later in self.indexes.range(header.first_sequence + 1..) {
                self.disk.unlink(&index_name(later)).map_err(&failed)?;
            }
            // The new segment must not be there beside an index that has its name.
            self.disk.sync_names().map_err(&failed)?;
        }
        self.go_on_after(before, segment_bytes)
    }

    /// Begins a segment behind the one that ends there.
    fn go_on_after(&self, before: SegmentEnd, segment_bytes: u64) -> Result<(), OpenError> {
        let log_id = self.manifest.log_id;
        let header = SegmentHeader { log_id, first_sequence: before.sequence + 1, file_bytes: segment_bytes, before };
        let failed = io_error("begin a segment behind the damaged one");
        let file = fill_segment(self.disk, header.file_bytes).map_err(&failed)?;
        create_segment(self.disk, file, &header).map_err(|error| failed(error.into_source()))?;
        Ok(())
    }

    /// What stays; `None` if recovery finds the same end by itself.
    fn kept(&self, header: &SegmentHeader, groups: &[Found], has_bad_sector: bool) -> Result<Option<Kept>, OpenError> {
        let before_all = header.first_sequence - 1;
        let claimed = groups.iter().map(|group| group.header.durable_sequence).max().unwrap_or(0).max(before_all);
        let chain_sequence = follow(groups, header).1;
        // Where the header is lost as well, an empty segment is not told from one of which all is lost.
        let is_unknown = has_bad_sector || (self.is_last_remade && groups.is_empty());
        if claimed <= chain_sequence && !is_unknown {
            return Ok(None);
        }
        let vouched = groups.iter().take_while(|group| group.last_sequence() <= claimed).count();
        let mut count = vouched;
        let mut sequence = groups[..vouched].last().map_or(before_all, Found::last_sequence).max(claimed);
        // Of what follows, nothing may be shown but what follows without a break, as after any stop.
        while let Some(group) = groups.get(count) {
            let follows_on = match count.checked_sub(1).map(|last| &groups[last]) {
                Some(last) if last.last_sequence() == sequence => group.follows(last.end, last.crc, sequence),
                _ => group.is_whole && group.header.first_sequence == sequence + 1,
            };
            if !follows_on {
                break;
            }
            sequence = group.last_sequence();
            count += 1;
        }
        let last_kept = groups[..count].last();
        let end = last_kept.map_or(SEGMENT_HEADER as u64, |last| last.end);
        let file_length = self.file_length(self.pieces.len() - 1)?;
        if is_unknown {
            let length = file_length.max(end).max((SEGMENT_HEADER + GROUP_HEADER) as u64);
            let sequence = sequence.max(header.first_sequence);
            return Ok(Some(Kept { groups: count, length, sequence, last: None }));
        }
        let is_seen = last_kept.is_some_and(|last| last.last_sequence() == sequence);
        let claiming =
            groups.iter().find(|group| group.header.durable_sequence == claimed).map_or(end, |group| group.at);
        let length = if is_seen { end } else { end.max(claiming) };
        let last = last_kept.and_then(|last| last.last).filter(|_| is_seen);
        Ok(Some(Kept { groups: count, length, sequence, last }))
    }

    /// Notes what is gone of the last segment.
    fn tell(&mut self, kept: &[Found], end: &SegmentEnd) -> Result<(), OpenError> {
        let index = self.pieces.len() - 1;
        let file = self.pieces[index].name.clone();
        let mut gone_from = SEGMENT_HEADER as u64;
        let mut last = self.last_good(index)?;
        for group in kept.iter().filter(|group| group.is_whole) {
            if group.at > gone_from {
                let ids = Between { last, next: group.first_id };
                self.done.push(Salvaged::Gone { file: file.clone(), from_byte: gone_from, to_byte: group.at, ids });
            }
            gone_from = group.end;
            last = group.last.map_or(last, |(id, _)| id);
        }
        if gone_from < end.length {
            let ids = Between { last, next: None };
            self.done.push(Salvaged::Gone { file, from_byte: gone_from, to_byte: end.length, ids });
        }
        Ok(())
    }
}

/// Where the groups end that follow one another from the segment's first on: the byte and the sequence.
fn follow(groups: &[Found], header: &SegmentHeader) -> (u64, u64) {
    let (mut end, mut crc, mut sequence) = (SEGMENT_HEADER as u64, 0, header.first_sequence - 1);
    for group in groups {
        if !group.follows(end, crc, sequence) {
            break;
        }
        (end, crc, sequence) = (group.end, group.crc, group.last_sequence());
    }
    (end, sequence)
}
