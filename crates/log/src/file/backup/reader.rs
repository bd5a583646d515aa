use std::io::{self, BufRead, Read};

/// The most bytes of a line: six times what fits in a segment of 64 MiB, since JSON may take six bytes for
/// one.
const LINE_BYTES_MAX: u64 = 384 << 20;

/// The lines of an export, with the checksum of those that were read.
pub(super) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    progress: &'a mut dyn FnMut(u64),
    line: Vec<u8>,
    number: u64,
    crc32c: u32,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// A line without its newline.
    Whole(&'a [u8]),
    /// A line without a newline: the input ends in the middle of it.
    Cut,
    /// A line that is longer than any event.
    TooLong,
    /// Nothing.
    End,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead, progress: &'a mut dyn FnMut(u64)) -> Lines<'a> {
        Lines { input, progress, line: Vec::new(), number: 0, crc32c: 0 }
    }

    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        self.number += 1;
        self.input.take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)?;
        (self.progress)(self.line.len() as u64);
        self.crc32c = crc32c::crc32c_append(self.crc32c, &self.line);
        Ok(match &*self.line {
            [] => Line::End,
            [line @ .., b'\n'] => Line::Whole(line),
            line if line.len() as u64 == LINE_BYTES_MAX => Line::TooLong,
            _ => Line::Cut,
        })
    }

    /// The number of the last line, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The checksum of all lines so far, with their newlines.
    pub(super) fn crc32c(&self) -> u32 {
        self.crc32c
    }
}
