use std::io;

use super::super::cursor::Window;
use super::super::disk::{Disk, DiskFile};
use super::super::index::parse_index_name;
use super::super::layout::{
    BadHeader, GROUP_HEADER, GROUP_MAGIC, GroupHeader, LogId, SEGMENT_HEADER, SegmentHeader, parse_segment_name,
    segment_name,
};
use super::super::manifest::Manifest;
use super::super::missing::Missing;
use super::{ViewError, read_manifest};
use crate::HubId;
use crate::record::Head;
use crate::tombstones::Tombstones;

/// What is read at once where a segment is searched.
const SEARCH_BYTES: usize = 256 * 1024;

/// A segment as it was when the folder was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ViewedSegment {
    pub(super) name: String,
    /// As its name says.
    pub(super) first_sequence: u64,
    pub(super) header: Result<SegmentHeader, BadHeader>,
    /// How long the file is.
    pub(super) file_bytes: u64,
    /// Where it ends, as the next one says; none if that is not known.
    pub(super) end: Option<u64>,
}

impl ViewedSegment {
    /// The last id before it, if its header says so.
    pub(super) fn before(&self) -> Option<HubId> {
        self.header.ok().map(|header| header.before.id)
    }

    pub(super) fn used_bytes_max(&self) -> u64 {
        self.end.unwrap_or(self.file_bytes).min(self.file_bytes)
    }
}

/// The segments of a folder above its low-water mark; `None` if they changed meanwhile.
pub(super) fn list<D: Disk>(disk: &D, manifest: &Manifest) -> Result<Option<Vec<ViewedSegment>>, ViewError> {
    let mut firsts: Vec<u64> = disk.list()?.iter().filter_map(|name| parse_segment_name(name)).collect();
    firsts.sort_unstable();
    let mut segments = Vec::with_capacity(firsts.len());
    for first_sequence in firsts {
        match look(disk, first_sequence) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            looked => segments.push(looked?),
        }
    }
    for n in 1..segments.len() {
        let before = segments[n].header.ok().map(|header| header.before);
        let end = before.filter(|before| before.first_sequence == segments[n - 1].first_sequence);
        segments[n - 1].end = end.map(|end| end.length);
    }
    // What is being removed lies below the mark.
    let is_left_over = |next: &ViewedSegment| next.before().is_some_and(|before| before <= manifest.low_water);
    let left_over = segments.iter().skip(1).take_while(|next| is_left_over(next)).count();
    segments.drain(..left_over);
    // The mark moves before segments go: it may have moved since it was read.
    let is_first = segments.first().and_then(ViewedSegment::before) == Some(manifest.low_water);
    if !is_first && read_manifest(disk)?.low_water != manifest.low_water {
        return Ok(None);
    }
    Ok(Some(segments))
}

/// What is missing behind the last of these segments, which nobody writes. It ends where it had ended before.
pub(super) fn missing<D: Disk>(
    disk: &D,
    manifest: &Manifest,
    segments: &mut [ViewedSegment],
) -> io::Result<Option<Missing>> {
    let Some(last) = segments.last_mut() else { return Ok(None) };
    let indexes = disk.list()?.iter().filter_map(|name| parse_index_name(name)).collect();
    let missing = Missing::behind(disk, &manifest.log_id, last.first_sequence, &indexes)?;
    last.end = missing.as_ref().and_then(|missing| missing.end).map(|end| end.length);
    Ok(missing)
}

/// Looks at the header of a segment.
fn look<D: Disk>(disk: &D, first_sequence: u64) -> io::Result<ViewedSegment> {
    let name = segment_name(first_sequence);
    let file = disk.open_to_read(&name)?;
    let file_bytes = file.length()?;
    let mut bytes = [0; SEGMENT_HEADER];
    let header = match file.read_at(&mut bytes, 0) {
        Ok(()) => SegmentHeader::decode(&bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(BadHeader::Damaged),
        Err(error) => return Err(error),
    };
    Ok(ViewedSegment { name, first_sequence, header, file_bytes, end: None })
}

/// The last sequence of a log that nobody writes: of its last whole group, or of one that a group behind it
/// says was durable. `None` if the last segment has gone meanwhile.
pub(super) fn last_whole<D: Disk>(
    disk: &D,
    manifest: &Manifest,
    tombstones: &Tombstones,
    segments: &[ViewedSegment],
) -> io::Result<Option<u64>> {
    let Some(last) = segments.last() else { return Ok(Some(0)) };
    let file = match disk.open_to_read(&last.name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut window = Window::default();
    let mut through = last.first_sequence.saturating_sub(1);
    let mut at = SEGMENT_HEADER as u64;
    while let Some((found, header, _)) = next_group(&mut window, &file, at, last.file_bytes, &manifest.log_id)? {
        through = through.max(header.durable_sequence);
        at = found + 1;
        let end = found + GROUP_HEADER as u64 + u64::from(header.body_bytes);
        if end > last.file_bytes || header.first_sequence != through + 1 {
            continue;
        }
        let body = window.load(&file, found + GROUP_HEADER as u64, header.body_bytes as usize, last.file_bytes)?;
        if is_whole(body, &header, tombstones) {
            through += u64::from(header.count);
            at = end;
        }
    }
    Ok(Some(through))
}

/// Whether these are the records that a group's header names.
fn is_whole(mut body: &[u8], header: &GroupHeader, tombstones: &Tombstones) -> bool {
    let (mut count, mut records_crc) = (0, 0);
    while !body.is_empty() {
        let Ok((head, frame, rest)) = Head::parse_first(body) else { return false };
        // The frame of what was erased may be overwritten.
        if head.with_frame(frame).is_err() && !tombstones.cover(&head) {
            return false;
        }
        records_crc = crc32c::crc32c_append(records_crc, &head.head_crc.to_le_bytes());
        count += 1;
        body = rest;
    }
    count == header.count && records_crc == header.records_crc
}

/// The first header of a group at or behind a byte: where it begins, and its checksum.
pub(super) fn next_group(
    window: &mut Window,
    file: &impl DiskFile,
    at: u64,
    end: u64,
    log_id: &LogId,
) -> io::Result<Option<(u64, GroupHeader, u32)>> {
    if at + GROUP_HEADER as u64 > end {
        return Ok(None);
    }
    if let Some((header, crc)) = GroupHeader::decode(window.load(file, at, GROUP_HEADER, end)?, log_id) {
        return Ok(Some((at, header, crc)));
    }
    find_group(file, at + 1, end, log_id)
}

fn find_group(
    file: &impl DiskFile,
    mut at: u64,
    end: u64,
    log_id: &LogId,
) -> io::Result<Option<(u64, GroupHeader, u32)>> {
    let mut buffer = Vec::new();
    while at + GROUP_HEADER as u64 <= end {
        let length = usize::try_from(end - at).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        buffer.resize(length, 0);
        file.read_at(&mut buffer, at)?;
        let headers = buffer.windows(GROUP_HEADER).enumerate().filter(|(_, bytes)| bytes.starts_with(&GROUP_MAGIC));
        let mut headers = headers.filter_map(|(n, bytes)| Some((n, GroupHeader::decode(bytes, log_id)?)));
        if let Some((n, (header, crc))) = headers.next() {
            return Ok(Some((at + n as u64, header, crc)));
        }
        // A header may begin in the last bytes.
        at += (length - GROUP_HEADER + 1) as u64;
    }
    Ok(None)
}
