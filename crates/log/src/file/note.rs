use super::layout::LogId;
use crate::HubId;
use crate::record::{u32_at, u64_at};

/// The bytes of a note.
pub(crate) const NOTE_BYTES: usize = 56;
const MAGIC: [u8; 8] = *b"TWLOCK\0\0";
const FORMAT: u32 = 1;

/// What the process that has a folder's lock writes into it after each commit, so that others can read
/// the folder meanwhile: what lies behind may not be durable, and may yet be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) log_id: LogId,
    /// The last committed sequence.
    pub(crate) sequence: u64,
    /// The last committed place.
    pub(crate) head: HubId,
}

impl Note {
    pub(crate) fn encode(&self) -> [u8; NOTE_BYTES] {
        let mut bytes = [0; NOTE_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(12, &FORMAT.to_le_bytes());
        put(16, &self.log_id);
        put(32, &self.sequence.to_le_bytes());
        put(40, &self.head.ms.to_le_bytes());
        put(48, &self.head.seq.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a note; `None` if the bytes are none, or were read while they were being written.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Note> {
        let bytes: &[u8; NOTE_BYTES] = bytes.first_chunk()?;
        let is_whole = bytes[..8] == MAGIC && u32_at(bytes, 8) == Ok(crc32c::crc32c(&bytes[12..]));
        if !is_whole || u32_at(bytes, 12) != Ok(FORMAT) {
            return None;
        }
        let mut log_id = LogId::default();
        log_id.copy_from_slice(&bytes[16..32]);
        let field = |at| u64_at(bytes, at).ok();
        Some(Note { log_id, sequence: field(32)?, head: HubId { ms: field(40)?, seq: field(48)? } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_no_flipped_bit_or_part_does() {
        let note = Note { log_id: [7; 16], sequence: 9, head: HubId { ms: 5, seq: 3 } };
        let bytes = note.encode();
        assert_eq!(Note::decode(&bytes), Some(note));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Note::decode(&bytes), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Note::decode(&bytes[..length]), None, "{length} bytes");
        }
    }
}
