use std::io;

use super::layout::{Indexed, PAGE, decode_header, index_name};
use crate::file::disk::{Disk, DiskFile};
use crate::file::layout::{LogId, SEGMENT_HEADER};
use crate::file::search::is_bad_sector;
use crate::record::u64_at;

/// Where a sealed segment ends, as its index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexedEnd {
    /// The byte.
    pub(crate) length: u64,
    /// The last sequence.
    pub(crate) sequence: u64,
}

/// Where the segment ends that begins with `first_sequence`, if there is an index of it whose header is whole.
///
/// # Errors
/// When the disk fails; a sector that it cannot read says nothing.
pub(crate) fn read_end<D: Disk>(disk: &D, log_id: &LogId, first_sequence: u64) -> io::Result<Option<IndexedEnd>> {
    let mut header = Box::new([0; PAGE]);
    let read = disk.open_to_read(&index_name(first_sequence)).and_then(|file| file.read_at(&mut header[..], 0));
    match read {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            return Ok(None);
        }
        Err(error) if is_bad_sector(&error) => return Ok(None),
        read => read?,
    }
    let length = u64_at(&header[..], 40).unwrap_or_default();
    let Ok(sizes) = decode_header(&header, &Indexed { log_id: *log_id, first_sequence, end: length }) else {
        return Ok(None);
    };
    // Its checksum is right, and nobody seals what holds nothing.
    let sequence = first_sequence.checked_add(u64::from(sizes.records)).map(|next| next - 1);
    let is_possible = |sequence: &u64| *sequence < u64::MAX / 2 && sizes.records > 0 && length > SEGMENT_HEADER as u64;
    let end = sequence.filter(is_possible);
    Ok(end.map(|sequence| IndexedEnd { length, sequence }))
}
