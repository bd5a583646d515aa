use tidewire_log::{HubId, Position};

use crate::slot::Progress;

/// The most bytes that one visit writes to one subscriber.
pub const VISIT_BYTES_MAX: usize = 64 * 1024;

/// Bytes ready to be written to a subscriber: what of the hub's own bytes is unfinished, then
/// frames, the last of which may be cut.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many of the bytes are the hub's own.
    own: usize,
    pieces: Vec<Piece>,
}

/// For whom frames were made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MadeFor {
    pub(crate) group: u32,
    pub(crate) progress: Progress,
    /// The position up to which records had been matched.
    pub(crate) matched: Position,
    /// How often the tail had forgotten: frames that were copied before may hold what was erased.
    pub(crate) forgets: u64,
    /// Whoever else stands at the same position is owed the same if its place lies below this one.
    pub(crate) below: Option<HubId>,
}

impl MadeFor {
    /// Whether frames that were made for these serve another, who would have them made for itself.
    pub(crate) fn serves(&self, other: &MadeFor) -> bool {
        let (Progress { at, place, offset }, to) = (self.progress, other.progress);
        (self.group, at, offset, self.matched, self.forgets)
            == (other.group, to.at, to.offset, other.matched, other.forgets)
            && (place == to.place || self.below.is_some_and(|below| to.place < below))
    }
}

#[derive(Debug)]
struct Piece {
    position: Position,
    id: HubId,
    /// Where the piece begins in its frame.
    offset: usize,
    /// Where it ends in `bytes`.
    end: usize,
    is_whole: bool,
}

impl Frames {
    /// The bytes to write.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes of the hub's own come first.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.own = 0;
        self.pieces.clear();
    }

    /// Starts anew with bytes of the hub's own.
    pub(crate) fn begin_with(&mut self, own: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(own);
        self.own = own.len();
    }

    /// Adds a frame from `offset` on, if it fits; the first is cut where it does not. Answers
    /// whether another may fit.
    pub(crate) fn push(&mut self, position: Position, id: HubId, frame: &[u8], offset: usize) -> bool {
        let rest = frame.get(offset..).unwrap_or_default();
        let room = VISIT_BYTES_MAX.saturating_sub(self.bytes.len());
        if rest.len() > room && !self.pieces.is_empty() {
            return false;
        }
        let taken = rest.len().min(room);
        self.bytes.extend_from_slice(&rest[..taken]);
        let is_whole = taken == rest.len();
        self.pieces.push(Piece { position, id, offset, end: self.bytes.len(), is_whole });
        is_whole
    }

    /// The id of the first frame.
    pub(crate) fn first(&self) -> Option<HubId> {
        self.pieces.first().map(|piece| piece.id)
    }

    /// Drops all frames but the first.
    pub(crate) fn keep_first(&mut self) {
        if let Some(first) = self.pieces.first() {
            self.bytes.truncate(first.end);
            self.pieces.truncate(1);
        }
    }

    /// Drops all frames but the first, and that too unless it is the rest of one begun.
    pub(crate) fn keep_begun(&mut self, offset: u32) {
        self.keep_first();
        if offset == 0 {
            self.bytes.truncate(self.own);
            self.pieces.clear();
        }
    }

    /// How far a subscriber has come once the first `written` bytes are on the wire, and how many
    /// frames were thereby finished; `None` if no byte of a frame is among them.
    pub(crate) fn progress(&self, written: usize) -> Option<(Progress, usize)> {
        if written <= self.own {
            return None;
        }
        let index = self.pieces.partition_point(|piece| piece.end < written);
        let piece = self.pieces.get(index)?;
        let start = if index == 0 { self.own } else { self.pieces[index - 1].end };
        let finished = written == piece.end && piece.is_whole;
        let offset = if finished { 0 } else { piece.offset + (written - start) };
        let offset = u32::try_from(offset).expect("a frame's length is a u32 in the log");
        Some((Progress { at: piece.position, place: piece.id, offset }, index + usize::from(finished)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> HubId {
        HubId { ms: 1, seq }
    }

    /// The oracle: walk the frames byte by byte.
    #[test]
    fn progress_is_exact_at_every_byte() {
        let lengths = [5_usize, 1, 7];
        let first_offset = 2;
        let mut frames = Frames::default();
        frames.begin_with(b"own");
        for (n, &length) in lengths.iter().enumerate() {
            let offset = if n == 0 { first_offset } else { 0 };
            assert!(frames.push(Position(n as u64), id(n as u64), &vec![b'x'; length], offset));
        }
        let (mut frame, mut offset, mut finished) = (0, first_offset, 0);
        for written in 0..=frames.bytes().len() {
            if written <= 3 {
                assert!(frames.progress(written).is_none());
                continue;
            }
            offset += 1;
            let (progress, count) = frames.progress(written).expect("a byte of a frame");
            if offset == lengths[frame] {
                finished += 1;
                assert_eq!((progress.place, progress.offset), (id(frame as u64), 0));
                frame += 1;
                offset = 0;
            } else {
                assert_eq!((progress.place, progress.offset as usize), (id(frame as u64), offset));
            }
            assert_eq!(count, finished);
        }
        assert_eq!(finished, 3);
    }

    #[test]
    fn a_visit_takes_whole_frames_up_to_its_limit_and_cuts_only_the_first() {
        let mut frames = Frames::default();
        assert!(!frames.push(Position(1), id(1), &vec![0; VISIT_BYTES_MAX + 1], 0));
        assert_eq!(frames.bytes().len(), VISIT_BYTES_MAX);
        assert_eq!(frames.progress(VISIT_BYTES_MAX).map(|(p, n)| (p.offset as usize, n)), Some((VISIT_BYTES_MAX, 0)));
        frames.clear();
        assert!(frames.push(Position(1), id(1), &[0; 10], 0));
        assert!(!frames.push(Position(2), id(2), &vec![0; VISIT_BYTES_MAX - 9], 0));
        assert_eq!(frames.bytes().len(), 10);
    }
}
