use std::io;

use super::BadIndex;
use super::layout::{Indexed, PAGE, PAGE_BYTES};
use crate::file::disk::DiskFile;
use crate::record::{BadRecord, u32_at};

/// So much is written at once.
const WRITE_BYTES: usize = 64 * PAGE;

/// Writes content into the pages of an index, from the second on.
pub(super) struct PageWriter<'a, F> {
    file: &'a F,
    of: &'a Indexed,
    /// Whole pages, and the one that is being filled.
    pages: Vec<u8>,
    /// The number of the page that is being filled.
    page: u64,
    /// Where the pages are to be written.
    at: u64,
}

impl<'a, F: DiskFile> PageWriter<'a, F> {
    pub(super) fn new(file: &'a F, of: &'a Indexed) -> PageWriter<'a, F> {
        PageWriter { file, of, pages: Vec::with_capacity(WRITE_BYTES), page: 1, at: PAGE as u64 }
    }

    pub(super) fn put(&mut self, mut content: &[u8]) -> io::Result<()> {
        while !content.is_empty() {
            let left = PAGE_BYTES - self.pages.len() % PAGE;
            let (now, later) = content.split_at(left.min(content.len()));
            self.pages.extend_from_slice(now);
            content = later;
            if now.len() == left {
                self.end_page()?;
            }
        }
        Ok(())
    }

    /// Fills the last page with zeros, and writes what is not written yet.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let begun = self.pages.len() % PAGE;
        if begun > 0 {
            self.pages.resize(self.pages.len() - begun + PAGE_BYTES, 0);
            self.end_page()?;
        }
        self.file.write_at(&self.pages, self.at)
    }

    fn end_page(&mut self) -> io::Result<()> {
        let begin = self.pages.len() - PAGE_BYTES;
        let crc = self.of.page_crc(self.page, &self.pages[begin..]);
        self.pages.extend_from_slice(&crc.to_le_bytes());
        self.page += 1;
        if self.pages.len() >= WRITE_BYTES {
            self.file.write_at(&self.pages, self.at)?;
            self.at += self.pages.len() as u64;
            self.pages.clear();
        }
        Ok(())
    }
}

/// Reads content from the pages of an index. It holds the last page, so that what lies close
/// together is read once.
pub(super) struct PageReader<'a, F> {
    file: &'a F,
    of: &'a Indexed,
    /// The number of the page that is held; 0 if none is.
    page: u64,
    bytes: Box<[u8; PAGE]>,
}

impl<'a, F: DiskFile> PageReader<'a, F> {
    pub(super) fn new(file: &'a F, of: &'a Indexed) -> PageReader<'a, F> {
        PageReader { file, of, page: 0, bytes: Box::new([0; PAGE]) }
    }

    /// Fills `buffer` with the content from byte `at` on.
    pub(super) fn read(&mut self, mut at: u64, mut buffer: &mut [u8]) -> Result<(), BadIndex> {
        while !buffer.is_empty() {
            let page = 1 + at / PAGE_BYTES as u64;
            let begin = usize::try_from(at % PAGE_BYTES as u64).map_err(|_| BadIndex::Damaged)?;
            self.load(page)?;
            let length = buffer.len().min(PAGE_BYTES - begin);
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&self.bytes[begin..begin + length]);
            buffer = later;
            at += length as u64;
        }
        Ok(())
    }

    fn load(&mut self, page: u64) -> Result<(), BadIndex> {
        if self.page == page {
            return Ok(());
        }
        self.page = 0;
        self.file.read_at(&mut self.bytes[..], page * PAGE as u64)?;
        let crc = u32_at(&self.bytes[..], PAGE_BYTES).map_err(|BadRecord| BadIndex::Damaged)?;
        if self.of.page_crc(page, &self.bytes[..PAGE_BYTES]) != crc {
            return Err(BadIndex::Damaged);
        }
        self.page = page;
        Ok(())
    }
}
