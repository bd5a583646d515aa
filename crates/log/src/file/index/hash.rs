use crate::file::layout::LogId;
use crate::record::{BadRecord, u64_at};

/// Hashes names as index files have them: SipHash-2-4, keyed with the log's id. Publishers do not know
/// the id, so that nobody can choose names whose hashes meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameHash {
    key: [u64; 2],
}

impl NameHash {
    pub(super) fn new(log_id: &LogId) -> NameHash {
        let half = |at| u64_at(log_id, at).unwrap_or_else(|BadRecord| unreachable!("an id has 16 bytes"));
        NameHash { key: [half(0), half(8)] }
    }

    /// The hash of a topic or a publisher's id.
    pub(super) fn name(&self, name: &str) -> u64 {
        self.bytes(name.as_bytes())
    }

    /// The hash of a publication: of what a publisher called it, under its first topic.
    pub(super) fn publication(&self, id: u64, topic: u32) -> u64 {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&id.to_le_bytes());
        bytes[8..].copy_from_slice(&topic.to_le_bytes());
        self.bytes(&bytes)
    }

    fn bytes(&self, bytes: &[u8]) -> u64 {
        let [low, high] = self.key;
        let mut state = State([
            low ^ u64::from_be_bytes(*b"somepseu"),
            high ^ u64::from_be_bytes(*b"dorandom"),
            low ^ u64::from_be_bytes(*b"lygenera"),
            high ^ u64::from_be_bytes(*b"tedbytes"),
        ]);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The last word holds the length, in its highest byte.
        last[7] = bytes.len().to_le_bytes()[0];
        state.take(u64::from_le_bytes(last));
        state.finish()
    }
}

struct State([u64; 4]);

impl State {
    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.0.into_iter().fold(0, |all, part| all ^ part)
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.0;
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32).wrapping_add(*d);
        *c = c.wrapping_add(*b);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use super::*;

    #[test]
    fn it_is_the_hash_of_the_standard_library() {
        #[expect(deprecated, reason = "the one way to give the standard library's SipHash-2-4 a key")]
        let oracle = |bytes: &[u8]| {
            let mut hasher = std::hash::SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
            hasher.write(bytes);
            hasher.finish()
        };
        let log_id: LogId = std::array::from_fn(|at| u8::try_from(at).expect("small"));
        let hash = NameHash::new(&log_id);
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            assert_eq!(hash.bytes(&bytes[..length]), oracle(&bytes[..length]), "{length} bytes");
        }
        assert_eq!(hash.bytes(&bytes[..15]), 0xa129_ca61_49be_45e5, "as its authors publish it");
    }
}
