//! What a folder says of newer segments that are not there.

use std::collections::BTreeSet;
use std::io;

use super::disk::Disk;
use super::index::{IndexedEnd, read_end};
use super::layout::{LogId, segment_name};

/// That there was a segment behind the last one. The index of a segment is written once the next one is durable, so
/// that an index of the last one, or of one behind it, tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The file of a segment that is missing: of the next one, if that is known.
    pub(crate) file: String,
    /// Where the last segment ends. Nothing beyond was ever shown.
    pub(crate) end: Option<IndexedEnd>,
    /// The last segment holds no sequence above this one, as far as that is known: what follows there was refused.
    pub(crate) last: u64,
    /// No sequence above this one is known to have been used.
    pub(crate) sequence: u64,
}

impl Missing {
    /// Looks for what is missing behind the segment that begins with `last`. `indexes` are the first sequences of
    /// those that have an index.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn behind<D: Disk>(
        disk: &D,
        log_id: &LogId,
        last: u64,
        indexes: &BTreeSet<u64>,
    ) -> io::Result<Option<Missing>> {
        let mut later = None;
        for &first_sequence in indexes.range(last..) {
            let Some(end) = read_end(disk, log_id, first_sequence)? else { continue };
            if first_sequence == last {
                let file = segment_name(end.sequence.saturating_add(1));
                return Ok(Some(Missing { file, end: Some(end), last: end.sequence, sequence: end.sequence }));
            }
            let (first, _) = later.unwrap_or((first_sequence, 0));
            later = Some((first, end.sequence));
        }
        Ok(later.map(|(first, sequence)| Missing {
            file: segment_name(first),
            end: None,
            last: first.saturating_sub(1),
            sequence,
        }))
    }
}
