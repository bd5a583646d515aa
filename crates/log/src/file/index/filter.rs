/// The bytes of a block: one key lies in one block, so that one small read answers.
pub(super) const BLOCK_BYTES: usize = 64;
/// So many bits for each key.
const KEY_BITS: u64 = 10;
/// So many of a block's 512 bits are set for a key.
const PROBES: u32 = 7;

/// Says of a key that it is not there, or that it may be: about one in eighty that is not there may be.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    blocks: Vec<[u8; BLOCK_BYTES]>,
}

impl Filter {
    /// A filter of the hashes of keys, with room for `keys` of them.
    pub(super) fn new(keys: u64, hashes: impl Iterator<Item = u64>) -> Filter {
        let count = usize::try_from(blocks(keys)).expect("keys lie in memory, and take more room each");
        let mut blocks = vec![[0; BLOCK_BYTES]; count];
        for hash in hashes {
            let block = block(hash, count as u64).and_then(|block| blocks.get_mut(usize::try_from(block).ok()?));
            let Some(block) = block else { continue };
            for bit in bits(hash) {
                block[bit / 8] |= 1 << (bit % 8);
            }
        }
        Filter { blocks }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.blocks.as_flattened()
    }
}

/// How many blocks a filter of so many keys has.
pub(super) fn blocks(keys: u64) -> u64 {
    (keys * KEY_BITS).div_ceil(8 * BLOCK_BYTES as u64)
}

/// The block in which a key lies; none in an empty filter.
pub(super) fn block(hash: u64, blocks: u64) -> Option<u64> {
    (blocks > 0).then(|| ((hash >> 32) * blocks) >> 32)
}

/// Whether a key may be there, as its block says.
pub(super) fn may_hold(block: &[u8; BLOCK_BYTES], hash: u64) -> bool {
    bits(hash).all(|bit| block[bit / 8] & (1 << (bit % 8)) != 0)
}

/// The bits of a key in its block. The block was chosen by the hash's upper half; they come from
/// all of it, mixed once more.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| usize::try_from(mixed >> (1 + 9 * probe) & 511).expect("nine bits"))
}

#[cfg(test)]
mod tests {
    use super::super::hash::NameHash;
    use super::*;

    fn holds(filter: &Filter, hash: u64) -> bool {
        let block = block(hash, filter.blocks.len() as u64);
        block.is_some_and(|block| may_hold(&filter.blocks[usize::try_from(block).expect("small")], hash))
    }

    #[test]
    fn every_key_is_found_and_few_others() {
        let hash = NameHash::new(b"sixteen at large");
        let key = |n: u32| hash.name(&format!("topic/{n}"));
        for count in [1, 50, 1_000, 20_000] {
            let filter = Filter::new(count.into(), (0..count).map(key));
            assert!((0..count).all(|n| holds(&filter, key(n))), "{count} keys");
            assert!(filter.as_bytes().len() as u64 * 8 < u64::from(count) * 10 + 512, "about ten bits a key");
        }
        let filter = Filter::new(20_000, (0..20_000).map(key));
        let wrong = (20_000..120_000).filter(|&n| holds(&filter, key(n))).count();
        assert!(wrong < 2_000, "{wrong} of 100,000");
        assert!(!holds(&Filter::new(0, std::iter::empty()), 5), "an empty one holds nothing");
    }
}
