use std::io;

use super::super::cursor::Window;
use super::super::disk::DiskFile;
use super::super::layout::{GROUP_HEADER, GroupHeader, LogId, SEGMENT_HEADER};
use super::super::search::{self, next_header, read_around};
use crate::HubId;
use crate::record::{Extent, Head};
use crate::tombstones::Tombstones;

/// A group that was found in a segment, whole or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) header: GroupHeader,
    pub(super) crc: u32,
    /// Whether it holds exactly the records that it says.
    pub(super) is_whole: bool,
    /// The id of its first record, if that can be read.
    pub(super) first_id: Option<HubId>,
    /// The id and the retention clock of its last record, if all heads can be read.
    pub(super) last: Option<(HubId, u64)>,
}

impl Found {
    pub(super) fn last_sequence(&self) -> u64 {
        self.header.first_sequence.saturating_add(u64::from(self.header.count) - 1)
    }

    /// Whether it is the next one after the group that ends there.
    pub(super) fn follows(&self, end: u64, crc: u32, last_sequence: u64) -> bool {
        self.is_whole
            && self.at == end
            && self.header.predecessor == crc
            && self.header.first_sequence == last_sequence + 1
    }
}

/// Looks for all groups of a segment, with sequences from `first` to before `limit`, and passes over what is
/// damaged.
pub(super) fn survey(
    file: &impl DiskFile,
    log_id: &LogId,
    tombstones: &Tombstones,
    first: u64,
    limit: u64,
) -> io::Result<Vec<Found>> {
    let file_end = file.length()?;
    let mut groups = Vec::new();
    let mut at = SEGMENT_HEADER as u64;
    let mut next_sequence = first;
    let mut window = Window::default();
    loop {
        let is_next = |header: &GroupHeader| {
            let behind = header.first_sequence.saturating_add(u64::from(header.count));
            header.count > 0 && header.first_sequence >= next_sequence && behind <= limit
        };
        let here = window.load(file, at, GROUP_HEADER, file_end).ok();
        let here = here.and_then(|bytes| GroupHeader::decode(bytes, log_id)).filter(|(header, _)| is_next(header));
        let found = match here {
            Some((header, crc)) => Some(search::Found { at, header, crc }),
            None => next_header(file, at, file_end, log_id, is_next)?,
        };
        let Some(found) = found else { return Ok(groups) };
        let body_at = found.at + GROUP_HEADER as u64;
        let end = body_at + u64::from(found.header.body_bytes);
        let mut group = Found {
            at: found.at,
            end,
            header: found.header,
            crc: found.crc,
            is_whole: false,
            first_id: None,
            last: None,
        };
        if end <= file_end {
            let length = found.header.body_bytes as usize;
            if let Ok(body) = window.load(file, body_at, length, file_end) {
                look_at_records(body, tombstones, &mut group);
            } else {
                let mut body = vec![0; length];
                read_around(file, &mut body, body_at)?;
                look_at_records(&body, tombstones, &mut group);
            }
            at = end;
        } else {
            at = body_at;
        }
        next_sequence = group.last_sequence().saturating_add(1);
        groups.push(group);
    }
}

fn look_at_records(mut body: &[u8], tombstones: &Tombstones, group: &mut Found) {
    let (mut count, mut crc, mut last, mut are_frames_right) = (0_u64, 0, None, true);
    while let Ok(extent) = Extent::read(body) {
        let Some((record, rest)) = body.split_at_checked(extent.bytes) else { return };
        let (head, frame) = record.split_at(extent.head_bytes);
        let Ok(head) = Head::parse(head) else { return };
        let is_next = head.sequence == group.header.first_sequence.saturating_add(count);
        if !is_next || last.is_some_and(|(id, _)| head.id <= id) {
            return;
        }
        group.first_id.get_or_insert(head.id);
        crc = crc32c::crc32c_append(crc, &head.head_crc.to_le_bytes());
        last = Some((head.id, head.retention_ms));
        count += 1;
        // The frame of what was erased may be overwritten.
        are_frames_right &= head.with_frame(frame).is_ok() || tombstones.cover(&head);
        body = rest;
    }
    let are_heads_right = body.is_empty() && count == u64::from(group.header.count) && crc == group.header.records_crc;
    group.last = last.filter(|_| are_heads_right);
    group.is_whole = are_heads_right && are_frames_right;
}
