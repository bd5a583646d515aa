//! Looking for groups where something is damaged.

use std::io;

use super::disk::DiskFile;
use super::layout::{GROUP_HEADER, GROUP_MAGIC, GroupHeader, LogId};

/// What is read at once where a segment is searched.
pub(super) const SEARCH_BYTES: usize = 256 * 1024;
/// What a disk that has a bad sector is asked for at once: the smallest sectors there are.
const SECTOR_BYTES: u64 = 512;
/// What the system says of a sector that cannot be read (`EIO`, on every Unix).
const INPUT_OUTPUT_ERROR: i32 = 5;

/// A group's header, and where it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) header: GroupHeader,
    pub(super) crc: u32,
}

/// The first header that lies in a range, as a whole, and that `accept` takes. The log's id makes it its own:
/// what a publisher sends is never taken for one. Sectors that cannot be read hold none.
pub(super) fn next_header(
    file: &impl DiskFile,
    mut at: u64,
    end: u64,
    log_id: &LogId,
    accept: impl Fn(&GroupHeader) -> bool,
) -> io::Result<Option<Found>> {
    let end = end.min(file.length()?);
    let mut buffer = Vec::new();
    while at.saturating_add(GROUP_HEADER as u64) <= end {
        let length = usize::try_from(end - at).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        buffer.resize(length, 0);
        read_around(file, &mut buffer, at)?;
        let candidates = buffer.windows(GROUP_HEADER).enumerate();
        let headers = candidates.filter(|(_, bytes)| bytes.starts_with(&GROUP_MAGIC)).filter_map(|(from, bytes)| {
            let (header, crc) = GroupHeader::decode(bytes, log_id)?;
            Some(Found { at: at + from as u64, header, crc })
        });
        if let Some(found) = headers.into_iter().find(|found| accept(&found.header)) {
            return Ok(Some(found));
        }
        // A header may begin in the last bytes.
        at += (length - GROUP_HEADER + 1) as u64;
    }
    Ok(None)
}

/// Fills a buffer, with zeros where the disk has a bad sector.
pub(super) fn read_around(file: &impl DiskFile, buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    match file.read_at(buffer, at) {
        Err(error) if is_bad_sector(&error) => {}
        read => return read,
    }
    let mut rest = buffer;
    while !rest.is_empty() {
        let in_sector = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).unwrap_or(rest.len());
        let (sector, behind) = rest.split_at_mut(in_sector.min(rest.len()));
        match file.read_at(sector, at) {
            Err(error) if is_bad_sector(&error) => sector.fill(0),
            read => read?,
        }
        at += sector.len() as u64;
        rest = behind;
    }
    Ok(())
}

/// Whether the disk could not read what lies there, and will not be able to.
pub(super) fn is_bad_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(INPUT_OUTPUT_ERROR)
}

/// Whether a file has a part that the disk cannot read.
pub(super) fn has_bad_sector(file: &impl DiskFile) -> io::Result<bool> {
    let end = file.length()?;
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < end {
        let length = usize::try_from(end - at).map_or(SEARCH_BYTES, |left| left.min(SEARCH_BYTES));
        buffer.resize(length, 0);
        match file.read_at(&mut buffer, at) {
            Err(error) if is_bad_sector(&error) => return Ok(true),
            read => read?,
        }
        at += length as u64;
    }
    Ok(false)
}
