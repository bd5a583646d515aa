use std::io;

use super::super::disk::DiskFile;

/// The first read of a walk.
const FIRST_READ_BYTES: usize = 64 * 1024;
/// Every other read, unless a record is longer.
const READ_BYTES: usize = 256 * 1024;
/// A read of one record, unless it is longer.
const SPARSE_READ_BYTES: usize = 4 * 1024;

/// A stretch of a file, in memory.
#[derive(Debug, Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    at: u64,
    reads: u32,
    /// Whether what follows is hardly asked for.
    pub(super) is_sparse: bool,
}

impl Window {
    /// The `length` bytes at `at`, which lie before `end`. Reads on ahead if they are not at hand.
    pub(crate) fn load(&mut self, file: &impl DiskFile, at: u64, length: usize, end: u64) -> io::Result<&[u8]> {
        let ends_at = at.checked_add(length as u64).filter(|&ends_at| ends_at <= end);
        let ends_at = ends_at.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.at || ends_at > self.at + self.bytes.len() as u64 {
            let ahead = match self.reads {
                _ if self.is_sparse => SPARSE_READ_BYTES,
                0 => FIRST_READ_BYTES,
                _ => READ_BYTES,
            };
            let ahead = usize::try_from(end - at).map_or(ahead, |left| left.min(ahead)).max(length);
            self.reads = self.reads.saturating_add(1);
            self.bytes.resize(ahead, 0);
            self.at = at;
            let mut read = file.read_at(&mut self.bytes, at);
            if read.is_err() && ahead > length {
                // What cannot be read may lie further on.
                self.bytes.truncate(length);
                read = file.read_at(&mut self.bytes, at);
            }
            if let Err(error) = read {
                self.bytes.clear();
                return Err(error);
            }
        }
        let start = usize::try_from(at - self.at).expect("lies in the window");
        Ok(&self.bytes[start..start + length])
    }
}
