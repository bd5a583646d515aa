use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::cursor::Window;
use super::damage::Damages;
use super::disk::{Disk, DiskFile, lacks_room};
use super::files::Files;
use super::index::{index_name, parse_index_name};
use super::layout::{
    BadHeader, FORMAT, GROUP_HEADER, GroupHeader, LogId, SEGMENT_HEADER, SegmentEnd, SegmentHeader, parse_segment_name,
    segment_name,
};
use super::manifest::{BadManifest, MANIFEST, MANIFEST_FORMAT, Manifest, State};
use super::missing::Missing;
use super::open::Opening;
use super::open_error::OpenError;
use super::salvage::{self, OnDamage, Salvaged};
use super::search::{SEARCH_BYTES, is_bad_sector, next_header};
use super::segment::{Mark, Segment};
use super::segments::{self, Segments, create_segment, fill_segment, rewrite, write_zeros};
use super::shelf::Shelf;
use super::tombstone_file;
use crate::HubId;
use crate::record::Head;
use crate::tombstones::Tombstones;

/// A segment has at least this length, so that it can hold something.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 4096;
/// Lengths in groups have 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64;

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log is new.
    pub created: bool,
    /// Segments retained.
    pub segments: u64,
    /// Events retained.
    pub records: u64,
    /// Bytes that were cut from the end of the last segment: a group that a crash had left half
    /// written. Nothing in it had been acknowledged.
    pub cut_bytes: u64,
    /// What salvage has done; nothing unless it was asked for and needed.
    pub salvaged: Vec<Salvaged>,
    /// Publishers' ids of the idempotence window that were read back.
    pub idempotence_entries: u64,
}

pub(crate) fn io_error(what: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { what, source }
}

fn damaged(file: &str, position: u64, what: &'static str) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), position, what }
}

/// A folder in order.
pub(crate) struct Recovered<D: Disk> {
    pub(crate) segments: Segments<D>,
    pub(crate) manifest: Manifest,
    pub(crate) tombstones: tombstone_file::Found,
    pub(crate) recovery: Recovery,
}

/// Opens the log in a folder that is locked, or makes one.
pub(crate) fn open<D: Disk>(disk: D, opening: &Opening, now_ms: u64) -> Result<Recovered<D>, OpenError> {
    let segment_bytes = opening.segment_bytes;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes) {
        return Err(OpenError::SegmentBytes { bytes: segment_bytes });
    }
    // A name that is seen need not be durable, and what follows from it must not be before it.
    disk.sync_names().map_err(io_error("sync the folder"))?;
    let disk = Arc::new(disk);
    let salvaged = match opening.on_damage {
        OnDamage::Stop => Vec::new(),
        OnDamage::Salvage => salvage::mend(&*disk, opening, now_ms)?,
    };
    let mut firsts = Vec::new();
    let mut indexes = BTreeSet::new();
    for name in disk.list().map_err(io_error("list the folder"))? {
        if name.ends_with(".tmp") {
            disk.unlink(&name).map_err(io_error("remove what a crash had left"))?;
        }
        firsts.extend(parse_segment_name(&name));
        indexes.extend(parse_index_name(&name));
    }
    firsts.sort_unstable();
    let (manifest, created) = match read_manifest(&*disk)? {
        Some(manifest) if manifest.low_water > HubId::ZERO => (manifest, false),
        found => {
            let mut manifest = found.unwrap_or_else(|| Manifest::new(opening.new_log_id, now_ms));
            create(&*disk, &mut firsts, segment_bytes, now_ms, &mut manifest)?;
            (manifest, true)
        }
    };
    let mut segments = firsts
        .iter()
        .map(|&first_sequence| find_segment(&*disk, first_sequence, &manifest.log_id))
        .collect::<Result<VecDeque<_>, _>>()?;
    remove_left_over(&*disk, &mut segments, manifest.low_water)?;
    let kept: BTreeSet<u64> = segments.iter().map(|segment| segment.header.first_sequence).collect();
    let tombstones = tombstone_file::read(&*disk, &manifest.log_id, manifest.low_water)?;
    let (opened, recovery) = recover(disk, opening, &manifest, &tombstones.tombstones, segments, &indexes)?;
    // Only now: a segment that is missing may be put back.
    for &first_sequence in indexes.difference(&kept) {
        opened.disk().unlink(&index_name(first_sequence)).map_err(io_error("remove an old index"))?;
    }
    let (records, _, segments) = opened.shelf().size();
    Ok(Recovered {
        segments: opened,
        recovery: Recovery { created, records, segments, salvaged, ..recovery },
        manifest,
        tombstones,
    })
}

/// The manifest of the folder; none if it has none.
pub(crate) fn read_manifest<D: Disk>(disk: &D) -> Result<Option<Manifest>, OpenError> {
    match Manifest::read(disk) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(BadManifest::Absent) => Ok(None),
        Err(BadManifest::Damaged) => Err(OpenError::BadManifest),
        Err(BadManifest::OtherFormat(found)) => {
            Err(OpenError::OtherFormat { file: MANIFEST.to_owned(), found, expected: MANIFEST_FORMAT })
        }
        Err(BadManifest::Io(error)) => Err(io_error("read the manifest")(error)),
    }
}

/// Makes the first segment, then the manifest, which makes it a log of segments. There may have been a
/// log in memory before.
fn create<D: Disk>(
    disk: &D,
    firsts: &mut Vec<u64>,
    segment_bytes: u64,
    now_ms: u64,
    manifest: &mut Manifest,
) -> Result<(), OpenError> {
    // A crash may have come between the two. Then the segment holds nothing.
    if !firsts.is_empty() && !is_unused(disk, firsts)? {
        return Err(OpenError::NoManifest);
    }
    if manifest.state == State::Memory {
        manifest.begin_epoch(manifest.epoch().first, now_ms);
        manifest.state = State::Closed;
    }
    let first = manifest.epoch().first;
    let before = SegmentEnd { id: first, retention_ms: now_ms, ..SegmentEnd::default() };
    let header = SegmentHeader { log_id: manifest.log_id, first_sequence: 1, file_bytes: segment_bytes, before };
    let failed = io_error("make the first segment");
    let file = fill_segment(disk, segment_bytes).map_err(&failed)?;
    create_segment(disk, file, &header).map_err(|error| failed(error.into_source()))?;
    *firsts = vec![1];
    manifest.low_water = first;
    manifest.write(disk).map_err(io_error("write the manifest"))
}

/// Whether there is only a first segment, and it holds nothing but its header.
pub(super) fn is_unused<D: Disk>(disk: &D, firsts: &[u64]) -> Result<bool, OpenError> {
    if firsts != [1] {
        return Ok(false);
    }
    let failed = io_error("read the first segment");
    let file = disk.open(&segment_name(1)).map_err(&failed)?;
    let length = file.length().map_err(&failed)?;
    match first_used(&file, SEGMENT_HEADER as u64, length) {
        Err(error) if is_bad_sector(&error) => Ok(false),
        used => used.map(|used| used.is_none()).map_err(&failed),
    }
}

/// A segment that lies in the folder, as its header says.
struct Found {
    name: String,
    header: SegmentHeader,
    /// How long its file is, in bytes.
    length: u64,
}

fn find_segment<D: Disk>(disk: &D, first_sequence: u64, log_id: &LogId) -> Result<Found, OpenError> {
    let name = segment_name(first_sequence);
    let file = disk.open(&name).map_err(io_error("open a segment"))?;
    let header = read_header(&file, &name, first_sequence)?;
    if header.log_id != *log_id {
        return Err(OpenError::OtherLog { file: name });
    }
    let length = file.length().map_err(io_error("read a segment's length"))?;
    Ok(Found { name, header, length })
}

/// The header of the segment of this name.
pub(super) fn read_header(file: &impl DiskFile, name: &str, first_sequence: u64) -> Result<SegmentHeader, OpenError> {
    // No log comes so far: another's file, or nobody's.
    if !(1..=u64::MAX / 2).contains(&first_sequence) {
        return Err(OpenError::Misnamed { file: name.to_owned() });
    }
    let mut bytes = [0; SEGMENT_HEADER];
    file.read_at(&mut bytes, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(name, 0, "it is too short for a header"),
        _ if is_bad_sector(&error) => damaged(name, 0, "the disk cannot read its header"),
        _ => io_error("read a segment's header")(error),
    })?;
    let header = SegmentHeader::decode(&bytes).map_err(|bad| match bad {
        BadHeader::Damaged => damaged(name, 0, "its header's checksum is wrong"),
        BadHeader::OtherFormat(found) => OpenError::OtherFormat { file: name.to_owned(), found, expected: FORMAT },
    })?;
    if header.first_sequence != first_sequence {
        return Err(OpenError::Misnamed { file: name.to_owned() });
    }
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.file_bytes) {
        return Err(damaged(name, 0, "its header has an impossible length"));
    }
    Ok(header)
}

/// Removes segments that were being removed at a crash: they lie below the low-water mark.
fn remove_left_over<D: Disk>(disk: &D, segments: &mut VecDeque<Found>, low_water: HubId) -> Result<(), OpenError> {
    let failed = io_error("remove an old segment");
    while segments.len() > 1 && segments[1].header.before.id <= low_water {
        disk.unlink(&segments[0].name).map_err(&failed)?;
        segments.pop_front();
    }
    let Some(first) = segments.front() else { return Err(OpenError::NoSegments) };
    if first.header.before.id != low_water {
        return Err(OpenError::MissingSegment { file: first.name.clone() });
    }
    Ok(())
}

/// Checks that the segments follow one another, and brings the last one in order.
fn recover<D: Disk>(
    disk: Arc<D>,
    opening: &Opening,
    manifest: &Manifest,
    tombstones: &Tombstones,
    mut segments: VecDeque<Found>,
    indexes: &BTreeSet<u64>,
) -> Result<(Segments<D>, Recovery), OpenError> {
    let files = Arc::new(Files::new(Arc::clone(&disk)));
    let last = segments.pop_back().ok_or(OpenError::NoSegments)?;
    let mut sealed = VecDeque::with_capacity(segments.len() + 1);
    while let Some(segment) = segments.pop_front() {
        let next = &segments.front().unwrap_or(&last).header;
        if next.before.first_sequence != segment.header.first_sequence {
            return Err(OpenError::MissingSegment { file: segment_name(next.first_sequence) });
        }
        if next.first_sequence.checked_sub(1) != Some(next.before.sequence) {
            return Err(damaged(&segment_name(next.first_sequence), 0, "its header contradicts itself"));
        }
        let Found { name, header, length } = segment;
        if length < next.before.length {
            return Err(damaged(&name, length, "it is shorter than the next segment says"));
        }
        let has_index = indexes.contains(&header.first_sequence);
        sealed.push_back(Arc::new(Segment::sealed(header, next.before.length, Arc::clone(&files), has_index)));
    }
    let missing = Missing::behind(&*disk, &manifest.log_id, last.header.first_sequence, indexes);
    if let Some(Missing { file, .. }) = missing.map_err(io_error("read an index"))? {
        return Err(OpenError::MissingNewest { file, last: last.name });
    }
    let file = Arc::new(disk.open(&last.name).map_err(io_error("open the last segment"))?);
    let active = Arc::new(Segment::open(last.header, Arc::clone(&file), Arc::clone(&files)));
    let end = scan(&active, &*file, &manifest.log_id, tombstones)?;
    active.set_committed(end.position);
    let cut_bytes = cut(&*file, active.header.file_bytes, end.position).map_err(io_error("cut the last segment"))?;
    // What is read here may be in the page cache alone: a killed process leaves it there. After a
    // failed sync the system even takes it for written, and would not write it at the next sync.
    // Of the last groups no other says that they are durable.
    rewrite(&*file, end.unvouched_at(), end.position).map_err(io_error("write the last groups again"))?;
    file.sync().map_err(io_error("sync the last segment"))?;
    end.marks.into_iter().for_each(|mark| active.note(mark));
    sealed.push_back(Arc::clone(&active));
    let damages = Damages::new(opening.reports.clone());
    let (head, last_sequence) = (end.last_id, end.last_sequence);
    let shelf = Shelf::new(manifest.log_id, files, sealed, head, last_sequence, manifest.low_water, damages);
    let written = segments::End {
        position: end.position,
        predecessor: end.predecessor,
        sequence: end.last_sequence,
        id: end.last_id,
        retention_ms: end.retention_ms,
    };
    let opened = Segments::new(disk, Arc::new(shelf), active, written, opening.segment_bytes);
    Ok((opened, Recovery { cut_bytes, ..Recovery::default() }))
}

/// How far a segment is whole.
struct End {
    position: u64,
    predecessor: u32,
    last_sequence: u64,
    last_id: HubId,
    /// The retention clock of the last record.
    retention_ms: u64,
    /// The first sequence of each of the last groups, which no other says is durable, and where it begins.
    unvouched: VecDeque<(u64, u64)>,
    marks: Vec<Mark>,
}

impl End {
    /// From where on nothing says that it is durable.
    fn unvouched_at(&self) -> u64 {
        self.unvouched.front().map_or(self.position, |&(_, at)| at)
    }
}

/// Walks over the whole groups of the last segment, and takes them into its index.
fn scan<F: DiskFile>(
    segment: &Segment<F>,
    file: &F,
    log_id: &LogId,
    tombstones: &Tombstones,
) -> Result<End, OpenError> {
    let failed = io_error("read the last segment");
    let file_end = file.length().map_err(&failed)?.min(segment.header.file_bytes);
    let mut end = End {
        position: SEGMENT_HEADER as u64,
        predecessor: 0,
        last_sequence: segment.header.first_sequence - 1,
        last_id: segment.header.before.id,
        retention_ms: segment.header.before.retention_ms,
        unvouched: VecDeque::new(),
        marks: Vec::new(),
    };
    let mut window = Window::default();
    while let Some(next) = whole_group(&mut window, file, &end, file_end, log_id, tombstones).map_err(&failed)? {
        let (next, durable_sequence) = next;
        let body_at = end.position + GROUP_HEADER as u64;
        let length = usize::try_from(next.position - body_at).expect("it was read at once");
        segment.index_group(body_at, window.load(file, body_at, length, file_end).map_err(&failed)?);
        end.marks.push(Mark { after: end.last_id, at: end.position, group_end: end.position });
        end.unvouched.push_back((end.last_sequence + 1, end.position));
        while end.unvouched.front().is_some_and(|&(first_sequence, _)| first_sequence <= durable_sequence) {
            end.unvouched.pop_front();
        }
        end = End { marks: end.marks, unvouched: end.unvouched, ..next };
    }
    // The end, or a damaged group with others behind it?
    match claimed_durable(file, &end, file_end, log_id).map_err(&failed)? {
        false => Ok(end),
        true => {
            Err(damaged(&segment.name, end.position, "a group is not whole, and one behind it says it was durable"))
        }
    }
}

/// Where the log ends after the group at `end.position`, and which sequence was durable when that was written;
/// `None` if there is no whole group.
fn whole_group(
    window: &mut Window,
    file: &impl DiskFile,
    end: &End,
    file_end: u64,
    log_id: &LogId,
    tombstones: &Tombstones,
) -> io::Result<Option<(End, u64)>> {
    let body_at = end.position + GROUP_HEADER as u64;
    if body_at > file_end {
        return Ok(None);
    }
    let header = GroupHeader::decode(window.load(file, end.position, GROUP_HEADER, file_end)?, log_id);
    let Some((header, predecessor)) = header else { return Ok(None) };
    let position = body_at + u64::from(header.body_bytes);
    let follows = header.predecessor == end.predecessor && header.first_sequence == end.last_sequence + 1;
    if !follows || header.count == 0 || position > file_end {
        return Ok(None);
    }
    let mut body = window.load(file, body_at, header.body_bytes as usize, file_end)?;
    let (mut count, mut records_crc) = (0, 0);
    let (mut last_sequence, mut last_id, mut retention_ms) = (end.last_sequence, end.last_id, end.retention_ms);
    while !body.is_empty() {
        let Ok((head, frame, rest)) = Head::parse_first(body) else { return Ok(None) };
        // The frame of what was erased may be overwritten, in whole or in part.
        let is_record = head.with_frame(frame).is_ok() || tombstones.cover(&head);
        if !is_record || head.sequence != last_sequence + 1 || head.id <= last_id {
            return Ok(None);
        }
        records_crc = crc32c::crc32c_append(records_crc, &head.head_crc.to_le_bytes());
        (last_sequence, last_id, retention_ms) = (head.sequence, head.id, head.retention_ms);
        count += 1;
        body = rest;
    }
    let is_whole = count == header.count && records_crc == header.records_crc;
    let (unvouched, marks) = (VecDeque::new(), Vec::new());
    let next = End { position, predecessor, last_sequence, last_id, retention_ms, unvouched, marks };
    Ok(is_whole.then_some((next, header.durable_sequence)))
}

/// Whether a group behind the end says that more was durable than is whole.
fn claimed_durable(file: &impl DiskFile, end: &End, file_end: u64, log_id: &LogId) -> io::Result<bool> {
    let claims = |header: &GroupHeader| header.durable_sequence > end.last_sequence;
    next_header(file, end.position, file_end, log_id, claims).map(|found| found.is_some())
}

/// Zeroes what lies behind `position`, and makes the file as long as it was made. Returns how
/// many bytes had been written there.
fn cut(file: &impl DiskFile, file_bytes: u64, position: u64) -> io::Result<u64> {
    let length = file.length()?.min(file_bytes);
    match write_zeros(file, length, file_bytes) {
        // Until there is room, groups may lack it as well.
        Err(error) if lacks_room(&error) => {}
        zeroed => zeroed?,
    }
    let mut buffer = Vec::new();
    let mut at = position;
    let mut cut_bytes = 0;
    while at < length {
        let piece = usize::try_from(length - at).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        buffer.resize(piece, 0);
        file.read_at(&mut buffer, at)?;
        let end = at + piece as u64;
        if let Some(last) = buffer.iter().rposition(|&b| b != 0) {
            write_zeros(file, at, end)?;
            cut_bytes = at + last as u64 + 1 - position;
        }
        at = end;
    }
    Ok(cut_bytes)
}

/// The first byte in a range that is not zero.
fn first_used(file: &impl DiskFile, mut at: u64, end: u64) -> io::Result<Option<u64>> {
    let mut buffer = Vec::new();
    while at < end {
        let length = usize::try_from(end - at).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        buffer.resize(length, 0);
        file.read_at(&mut buffer, at)?;
        if let Some(used) = buffer.iter().position(|&b| b != 0) {
            return Ok(Some(at + used as u64));
        }
        at += length as u64;
    }
    Ok(None)
}
