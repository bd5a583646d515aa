//! What a simulated disk does wrong when it is told to.

use std::{fmt, io};

/// Which of the operations to come fail.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) syncs: Fault,
    pub(super) writes: Fault,
    pub(super) unlinks: Fault,
    pub(super) is_read_only: bool,
    pub(super) meanwhile: Meanwhile,
}

/// What is done before the next write.
#[derive(Default)]
pub(super) struct Meanwhile(pub(super) Option<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
}

/// A run of failures of one kind of operation.
#[derive(Debug, Default)]
pub(super) struct Fault {
    /// So many go well first.
    others: u64,
    /// So many fail then.
    count: u64,
}

impl Faults {
    /// # Errors
    /// When the disk takes nothing.
    pub(super) fn check_writable(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl Fault {
    pub(super) fn after(others: u64, count: u64) -> Fault {
        Fault { others, count }
    }

    /// Counts an operation.
    ///
    /// # Errors
    /// When it is one of those that fail.
    pub(super) fn meet(&mut self) -> io::Result<()> {
        if self.count > 0 && self.others == 0 {
            self.count -= 1;
            return Err(io::Error::other("input/output error"));
        }
        self.others = self.others.saturating_sub(1);
        Ok(())
    }
}

/// A small generator (splitmix64): enough to scatter losses, and the same everywhere.
#[derive(Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
