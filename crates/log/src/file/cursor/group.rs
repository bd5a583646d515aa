//! From group to group, for those who are given whole ones.

use super::super::disk::DiskFile;
use super::super::layout::GROUP_HEADER;
use super::FileCursor;
use super::walk::{Passed, Trouble};
use crate::record::Head;
use crate::visibility::Visibility;
use crate::{HubId, ReadError, RecordView};

/// What lies next in the log, whole.
pub(crate) enum Stretch<'a> {
    /// A group.
    Group {
        /// The last of its records that is hidden; what precedes it is not to be given.
        hidden: Option<HubId>,
        /// Those that follow.
        records: Vec<RecordView<'a>>,
    },
    /// A group is damaged; what it held lies at or before this place.
    Lost(HubId),
}

/// A group that was looked at.
struct Checked {
    first: HubId,
    last: HubId,
    hidden: Option<HubId>,
}

impl<F: DiskFile> FileCursor<'_, F> {
    /// The next group, if all of it is whole or hidden; `None` at the end. Only between two groups.
    pub(crate) fn group(&mut self, visibility: &Visibility) -> Result<Option<Stretch<'_>>, ReadError> {
        let (start, length, hidden) = loop {
            if self.at >= self.end {
                match self.pass_end() {
                    Passed::On => continue,
                    Passed::Lost(through) => return Ok(Some(Stretch::Lost(through))),
                    Passed::Nothing => return Ok(None),
                }
            }
            let (header_at, sequence_before) = (self.at, self.sequence);
            match self.check_group(visibility) {
                Err(trouble) => self.skip(trouble)?,
                Ok(Checked { first, last, hidden }) => {
                    if let Some(through) = self.end_of_lost(first, header_at) {
                        (self.at, self.group_end, self.sequence) = (header_at, header_at, sequence_before);
                        return Ok(Some(Stretch::Lost(through)));
                    }
                    self.last = last;
                    let body_at = header_at + GROUP_HEADER as u64;
                    let length = usize::try_from(self.group_end - body_at).unwrap_or(usize::MAX);
                    break (body_at, length, hidden);
                }
            }
        };
        let mut body = self.load(start, length).map_err(Trouble::into_error)?;
        let mut records = Vec::new();
        while !body.is_empty() {
            let (head, frame, rest) = Head::parse_first(body).expect("checked by check_group");
            if hidden.is_none_or(|hidden| head.id > hidden) {
                records.push(head.with_frame(frame).expect("checked by check_group"));
            }
            body = rest;
        }
        Ok(Some(Stretch::Group { hidden, records }))
    }

    /// Checks the group that comes next, and passes it if all of it is whole or hidden.
    fn check_group(&mut self, visibility: &Visibility) -> Result<Checked, Trouble> {
        self.enter_group()?;
        let start = self.at;
        let length = usize::try_from(self.group_end - start).map_err(|_| Trouble::Damaged)?;
        let (mut first, mut last, mut sequence, mut hidden) = (None, self.last, self.sequence, None);
        let mut body = self.load(start, length)?;
        while !body.is_empty() {
            let (head, frame, rest) = Head::parse_first(body).map_err(|_| Trouble::Damaged)?;
            if head.id <= last {
                return Err(Trouble::Damaged);
            }
            if visibility.hides(&head).is_some() {
                hidden = Some(head.id);
            } else if head.with_frame(frame).is_err() {
                // It may have been overwritten since.
                visibility.explains(&head).ok_or(Trouble::Damaged)?;
                hidden = Some(head.id);
            }
            first.get_or_insert(head.id);
            (last, sequence) = (head.id, head.sequence);
            body = rest;
        }
        (self.at, self.sequence) = (self.group_end, sequence);
        Ok(Checked { first: first.ok_or(Trouble::Damaged)?, last, hidden })
    }
}
