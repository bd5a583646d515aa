/// Entries lie in blocks of this many, which never move.
pub(crate) const BLOCK_ENTRIES: usize = 1024;

/// Entries under numbers. A list that grows by copying would hold a shard up for as long as the copy of a million of them
/// takes: this one grows by a block.
pub(crate) struct Blocks<E>(Vec<Box<[E]>>);

impl<E> Blocks<E> {
    pub(crate) fn new() -> Blocks<E> {
        Blocks(Vec::new())
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.len() * BLOCK_ENTRIES).expect("numbers are given out as u32")
    }

    /// Adds a block, and the numbers of its entries to those that are free: the lowest is to be taken first.
    pub(crate) fn grow(&mut self, free: &mut Vec<u32>, mut entry: impl FnMut() -> E) {
        let first = self.len();
        self.0.push((0..BLOCK_ENTRIES).map(|_| entry()).collect());
        free.extend((first..self.len()).rev());
    }

    pub(crate) fn get(&self, number: u32) -> Option<&E> {
        self.0.get(number as usize / BLOCK_ENTRIES)?.get(number as usize % BLOCK_ENTRIES)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut E> {
        self.0.get_mut(number as usize / BLOCK_ENTRIES)?.get_mut(number as usize % BLOCK_ENTRIES)
    }
}
