use super::layout::{Indexed, PAGE, PAGE_BYTES, index_name};
use super::{IndexFile, RecordIndex};
use crate::HubId;
use crate::file::disk::Disk;
use crate::file::sim_disk::SimDisk;

/// The segment of which fuzzed bytes are taken to be the index.
pub(super) const OF: Indexed = Indexed { log_id: *b"sixteen at large", first_sequence: 7, end: 1 << 20 };

/// Asks an index of any bytes everything, as they are and once more with right checksums. It panics if
/// an answer names what cannot be there, or is longer than the bytes. For the fuzz target `log_index`.
#[doc(hidden)]
pub fn fuzz_index(bytes: &[u8]) {
    ask(bytes.to_vec());
    ask(with_right_checksums(bytes.to_vec()));
}

fn ask(bytes: Vec<u8>) {
    let bytes_max = bytes.len();
    let disk = SimDisk::default();
    disk.put(&index_name(OF.first_sequence), bytes);
    let Ok(file) = disk.open(&index_name(OF.first_sequence)) else { return };
    let Ok(index) = IndexFile::new(file, OF) else { return };
    let mut names = vec!["often".to_owned(), "shared/1".to_owned(), "id 4".to_owned()];
    if let Ok(topics) = index.topics_after(Some("a"), usize::MAX) {
        assert!(topics.len() < bytes_max && topics.is_sorted_by(|(one, _), (next, _)| one < next));
        names.extend(topics.into_iter().take(5).map(|(name, _)| name));
    }
    let (mut from, mut others) = (Some(0), Vec::new());
    while let Some(at) = from {
        from = index.other_topics(at, &mut others).unwrap_or_default();
        assert!(others.len() < bytes_max && from.is_none_or(|next| next > at));
    }
    let (mut from, mut alike) = (Some(0), Vec::new());
    while let Some(at) = from {
        from = index.topics_beginning("https://", at, &mut alike).unwrap_or_default();
        assert!(alike.len() < bytes_max && from.is_none_or(|next| next > at));
    }
    for name in &names {
        if let Ok(Some(postings)) = index.topic(name) {
            let mut records = Vec::new();
            if index.postings(postings, 0..u32::MAX, &mut records).is_ok() {
                assert!(records.len() < bytes_max && records.is_sorted_by(|one, next| one < next));
            }
            if let Ok(rank) = index.rank(postings, 5) {
                assert!(rank <= postings.count);
            }
            let mut offsets = Vec::new();
            if index.offsets(&records, &mut offsets).is_ok() {
                assert!(offsets.len() == records.len() && offsets.iter().all(|&offset| offset < OF.end));
            }
        }
        for topic in [None, Some(&**name)] {
            if let Ok(found) = index.published(name, topic) {
                assert!(found.len() < bytes_max && found.iter().all(|&record| record < index.records()));
            }
        }
    }
    if let Ok(Some((record, mark))) = index.mark(HubId { ms: 20, seq: 0 }) {
        assert!(record < index.records() && mark.at < mark.group_end && mark.group_end <= OF.end);
    }
}

pub(super) fn with_right_checksums(mut bytes: Vec<u8>) -> Vec<u8> {
    for (page, bytes) in (0..).zip(bytes.chunks_exact_mut(PAGE)) {
        if page == 0 {
            let crc = crc32c::crc32c(&bytes[12..]);
            bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        } else {
            let crc = OF.page_crc(page, &bytes[..PAGE_BYTES]);
            bytes[PAGE_BYTES..].copy_from_slice(&crc.to_le_bytes());
        }
    }
    bytes
}
