//! From record to record of a segment, and over what is damaged.

use std::io;

use super::super::damage::Damage;
use super::super::disk::DiskFile;
use super::super::layout::{GROUP_HEADER, GroupHeader};
use super::super::search::{is_bad_sector, next_header};
use super::FileCursor;
use crate::record::{Extent, FIXED_BYTES, Head};
use crate::{HubId, ReadError};

/// A record whose head is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) at: u64,
    pub(super) extent: Extent,
    pub(super) id: HubId,
    pub(super) sequence: u64,
}

/// Why a walk cannot take what comes next.
pub(super) enum Trouble {
    /// It is not what was written.
    Damaged,
    /// It cannot be told what is there.
    Failed(io::Error),
}

impl Trouble {
    /// As an error, where what was read before cannot be read again.
    pub(super) fn into_error(self) -> ReadError {
        match self {
            Trouble::Damaged => io::Error::from(io::ErrorKind::InvalidData).into(),
            Trouble::Failed(error) => error.into(),
        }
    }
}

/// What a walk finds at the end of a segment.
pub(super) enum Passed {
    /// It can go on.
    On,
    /// What was committed last is lost, up to this place.
    Lost(HubId),
    /// Nothing more is committed.
    Nothing,
}

impl<F: DiskFile> FileCursor<'_, F> {
    /// Reads a group's header, and goes on to its first record.
    pub(super) fn enter_group(&mut self) -> Result<(), Trouble> {
        let at = self.at;
        let shelf = self.shelf;
        let header = GroupHeader::decode(self.load(at, GROUP_HEADER)?, &shelf.log_id);
        let Some((header, _)) = header else { return Err(Trouble::Damaged) };
        let body_at = at + GROUP_HEADER as u64;
        let group_end = body_at + u64::from(header.body_bytes);
        if header.body_bytes == 0 || group_end > self.end || header.first_sequence <= self.sequence {
            return Err(Trouble::Damaged);
        }
        (self.at, self.group_end) = (body_at, group_end);
        Ok(())
    }

    /// Looks at the next record's head, and does not pass it.
    pub(super) fn look(&mut self) -> Result<Found, Trouble> {
        if self.at >= self.group_end {
            self.enter_group()?;
        }
        let found = self.head_at(self.at, self.group_end)?;
        if found.id <= self.last { Err(Trouble::Damaged) } else { Ok(found) }
    }

    /// Checks the head at a byte, of a record that ends at or before another.
    pub(super) fn head_at(&mut self, at: u64, end: u64) -> Result<Found, Trouble> {
        let extent = Extent::read(self.load(at, FIXED_BYTES)?).map_err(|_| Trouble::Damaged)?;
        if extent.bytes as u64 > end - at {
            return Err(Trouble::Damaged);
        }
        let head = Head::parse(self.load(at, extent.head_bytes)?).map_err(|_| Trouble::Damaged)?;
        Ok(Found { at, extent, id: head.id, sequence: head.sequence })
    }

    /// Passes over what is damaged, to where the next group may begin.
    pub(super) fn skip(&mut self, trouble: Trouble) -> Result<(), ReadError> {
        if let Trouble::Failed(error) = trouble {
            return Err(error.into());
        }
        let at = self.at;
        let known_end = match self.lost_from {
            Some(_) => None,
            None => self.shelf.damages.end_of(&self.segment.name, at).filter(|&end| end > at && end <= self.end),
        };
        self.lost_from.get_or_insert(at);
        self.at = if let Some(end) = known_end {
            end
        } else if at < self.group_end {
            self.group_end
        } else {
            let is_later = |header: &GroupHeader| header.first_sequence > self.sequence;
            let file = self.segment.file()?;
            let found = next_header(&*file, at + 1, self.end, &self.shelf.log_id, is_later)?;
            found.map_or(self.end, |found| found.at)
        };
        self.group_end = self.at;
        Ok(())
    }

    /// The last place that may be lost before a record, if something is lost there that the walk would have
    /// come to. `group_at` is where its group begins.
    pub(super) fn end_of_lost(&mut self, id: HubId, group_at: u64) -> Option<HubId> {
        let from_byte = self.lost_from.take()?;
        let through = id.before().unwrap_or_default();
        self.note_damage(from_byte, group_at, self.last, through);
        self.last = through;
        (through > self.after).then_some(through)
    }

    pub(super) fn note_damage(&self, from_byte: u64, to_byte: u64, after: HubId, through: HubId) {
        let file = self.segment.name.clone();
        self.shelf.damages.found(&Damage { file, from_byte, to_byte, after, through });
    }

    /// Bytes of the segment, whose file is opened if it is not.
    pub(super) fn load(&mut self, at: u64, length: usize) -> Result<&[u8], Trouble> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.segment.file().map_err(Trouble::Failed)?),
        };
        self.window.load(&**file, at, length, self.end).map_err(|error| {
            let is_sealed = || self.shelf.after(self.segment.header.first_sequence).is_some();
            match error.kind() {
                // A file that ends before what was committed is as damaged as one with other bytes.
                io::ErrorKind::UnexpectedEof => Trouble::Damaged,
                _ if is_bad_sector(&error) && is_sealed() => Trouble::Damaged,
                _ => Trouble::Failed(error),
            }
        })
    }
}
