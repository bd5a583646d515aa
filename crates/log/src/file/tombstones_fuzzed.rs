use super::layout::LogId;
use super::sim_disk::SimDisk;
use super::tombstone_file::{TOMBSTONES, read};
use crate::HubId;

/// The log of which fuzzed bytes are taken to be the tombstones.
const LOG_ID: LogId = *b"sixteen at large";
const HEADER_BYTES: usize = 32;
const BATCH_HEADER_BYTES: usize = 20;
/// The least that a tombstone takes.
const ENTRY_BYTES: usize = 20;

/// Reads tombstones from any bytes, as they are and once more with right magics and checksums. It panics if there
/// are more of them than fit in the bytes. For the fuzz target `log_tombstones`.
#[doc(hidden)]
pub fn fuzz_tombstones(bytes: &[u8]) {
    look_at(bytes.to_vec());
    look_at(with_right_checksums(bytes.to_vec()));
}

/// How many tombstones were found, if the bytes are a file of them.
fn look_at(bytes: Vec<u8>) -> Option<usize> {
    let entries_max = bytes.len() / ENTRY_BYTES;
    let disk = SimDisk::default();
    disk.put(TOMBSTONES, bytes);
    let mut found = None;
    for low_water in [HubId::ZERO, HubId { ms: 1, seq: 0 }] {
        if let Ok(read) = read(&disk, &LOG_ID, low_water) {
            let count = read.tombstones.len();
            assert!(count <= entries_max && found.is_none_or(|before| count <= before));
            found = Some(count);
        }
    }
    found
}

/// A file's header, and from batch to batch, as far as the lengths in them lead.
fn with_right_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() < HEADER_BYTES {
        return bytes;
    }
    bytes[..8].copy_from_slice(b"TWTOMB\0\0");
    bytes[12..16].copy_from_slice(&1_u32.to_le_bytes());
    bytes[16..32].copy_from_slice(&LOG_ID);
    let crc = crc32c::crc32c(&bytes[12..32]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_BYTES;
    while let Some(batch) = bytes.get_mut(at..) {
        let Some(length) = batch.get(8..12).and_then(|field| field.first_chunk()) else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let Some(batch) = batch.get_mut(..length).filter(|batch| batch.len() >= BATCH_HEADER_BYTES) else { break };
        batch[..4].copy_from_slice(b"TWTB");
        batch[12..20].copy_from_slice(&(at as u64).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&LOG_ID), &batch[8..]);
        batch[4..8].copy_from_slice(&crc.to_le_bytes());
        at += length;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Were a checksum made wrongly here, the fuzzer would never come to what lies behind it.
    #[test]
    fn what_lies_behind_the_checksums_is_reached() {
        let mut bytes = vec![0; HEADER_BYTES];
        for (flags, topic) in [(0_u16, ""), (1, "a")] {
            let length = BATCH_HEADER_BYTES + ENTRY_BYTES + topic.len();
            let mut batch = vec![0; length];
            batch[8..12].copy_from_slice(&(length as u32).to_le_bytes());
            batch[20..22].copy_from_slice(&flags.to_le_bytes());
            batch[22..24].copy_from_slice(&(topic.len() as u16).to_le_bytes());
            batch[24] = 9;
            batch[40..].copy_from_slice(topic.as_bytes());
            bytes.extend(batch);
        }
        assert_eq!(look_at(bytes.clone()), None);
        assert_eq!(look_at(with_right_checksums(bytes)), Some(2));
    }
}
