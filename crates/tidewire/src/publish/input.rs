//! Lines of standard input, read by a thread of its own so that a terminal or a pipe that is
//! silent holds nobody up.

use std::io::{ErrorKind, Read};
use std::thread;

use tokio::sync::mpsc;

/// The most bytes a line may have: more than a hub takes by default.
pub(super) const LINE_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// How much is read at once, in bytes: the lines that end in it are handed on together.
const READ_BYTES: usize = 64 * 1_024;
/// How many reads may wait to be published before standard input is left alone.
const READS_WAITING_MAX: usize = 16;

/// A line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Which it is, the first being 1.
    pub(super) number: u64,
    /// The byte of the input at which the next line begins.
    pub(super) ends_at: u64,
    /// The line without its end (LF or CRLF).
    pub(super) text: String,
}

/// Why the input could not be read to its end.
#[derive(Debug)]
pub(super) enum InputError {
    Read(std::io::Error),
    TooLong { number: u64 },
    NotUtf8 { number: u64 },
}

/// Begins to read standard input. The lines that end in one read come together. The channel ends
/// where the input ends, or after an error.
pub(super) fn read_stdin() -> mpsc::Receiver<Result<Vec<Line>, InputError>> {
    let (sender, receiver) = mpsc::channel(READS_WAITING_MAX);
    thread::spawn(move || {
        let mut reader = LineReader::new(std::io::stdin().lock());
        while let Some(read) = reader.next_lines().transpose() {
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

struct LineReader<R> {
    input: R,
    buffer: Box<[u8]>,
    unfinished: Vec<u8>,
    lines: u64,
    read_bytes: u64,
    /// Told after the lines that came before it.
    error: Option<InputError>,
    at_end: bool,
}

impl<R: Read> LineReader<R> {
    fn new(input: R) -> LineReader<R> {
        let buffer = vec![0; READ_BYTES].into();
        LineReader { input, buffer, unfinished: Vec::new(), lines: 0, read_bytes: 0, error: None, at_end: false }
    }

    /// Reads until a line has ended, and gives all that ended with it; nothing at the end.
    fn next_lines(&mut self) -> Result<Option<Vec<Line>>, InputError> {
        let mut lines = Vec::new();
        while lines.is_empty() {
            if let Some(error) = self.error.take() {
                self.at_end = true;
                return Err(error);
            }
            if self.at_end {
                return Ok(None);
            }
            self.error = self.read_once(&mut lines).err();
        }
        Ok(Some(lines))
    }

    fn read_once(&mut self, lines: &mut Vec<Line>) -> Result<(), InputError> {
        let count = match self.input.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(InputError::Read(error)),
        };
        if count == 0 {
            self.at_end = true;
            if !self.unfinished.is_empty() {
                lines.push(self.take_line(self.read_bytes)?);
            }
            return Ok(());
        }
        let mut rest = 0;
        while let Some(length) = self.buffer[rest..count].iter().position(|&byte| byte == b'\n') {
            self.unfinished.extend_from_slice(&self.buffer[rest..rest + length]);
            rest += length + 1;
            lines.push(self.take_line(self.read_bytes + rest as u64)?);
        }
        self.read_bytes += count as u64;
        self.unfinished.extend_from_slice(&self.buffer[rest..count]);
        // One byte more may be the CR of a line that fits.
        if self.unfinished.len() > LINE_BYTES_MAX + 1 {
            return Err(InputError::TooLong { number: self.lines + 1 });
        }
        Ok(())
    }

    fn take_line(&mut self, ends_at: u64) -> Result<Line, InputError> {
        self.lines += 1;
        let number = self.lines;
        let mut bytes = std::mem::take(&mut self.unfinished);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.len() > LINE_BYTES_MAX {
            return Err(InputError::TooLong { number });
        }
        let text = String::from_utf8(bytes).map_err(|_| InputError::NotUtf8 { number })?;
        Ok(Line { number, ends_at, text })
    }
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InputError::Read(_) => f.write_str("failed to read standard input"),
            InputError::TooLong { number } => write!(f, "line {number} is longer than {LINE_BYTES_MAX} bytes"),
            InputError::NotUtf8 { number } => write!(f, "line {number} is not UTF-8"),
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InputError::Read(error) => Some(error),
            InputError::TooLong { .. } | InputError::NotUtf8 { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its input in pieces of at most `at_most` bytes, each after an interruption.
    struct Dripping<'a> {
        input: &'a [u8],
        at_most: usize,
        interrupted: bool,
    }

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = self.at_most.min(self.input.len()).min(buffer.len());
            let (piece, rest) = self.input.split_at(count);
            buffer[..count].copy_from_slice(piece);
            self.input = rest;
            Ok(count)
        }
    }

    fn reader(input: &[u8], at_most: usize) -> LineReader<Dripping<'_>> {
        LineReader::new(Dripping { input, at_most, interrupted: false })
    }

    fn lines(input: &[u8], at_most: usize) -> Result<Vec<String>, InputError> {
        let mut reader = reader(input, at_most);
        let mut texts = Vec::new();
        let mut begins_at = 0;
        while let Some(read) = reader.next_lines()? {
            for line in read {
                assert!(input[begins_at..].starts_with(line.text.as_bytes()));
                begins_at = line.ends_at as usize;
                texts.push(line.text);
                assert_eq!(line.number, texts.len() as u64);
            }
        }
        assert_eq!(begins_at, input.len());
        Ok(texts)
    }

    #[test]
    fn lines_are_the_same_however_the_input_comes() {
        let input = "one\r\n\nthree é\n\r\nfi\rve\nlast";
        for at_most in 1..input.len() + 1 {
            let read = lines(input.as_bytes(), at_most).expect("lines");
            assert_eq!(read, ["one", "", "three é", "", "fi\rve", "last"], "{at_most} bytes at once");
        }
        assert_eq!(lines(b"", 1).expect("no lines"), [""; 0]);
        assert_eq!(lines(b"\n", 1).expect("a line"), [""]);
    }

    #[test]
    fn one_byte_more_than_the_limit_is_refused() {
        let longest = vec![b'a'; LINE_BYTES_MAX];
        for end in ["", "\n", "\r\n"] {
            let fits = [b"first\n", &longest[..], end.as_bytes()].concat();
            assert_eq!(lines(&fits, READ_BYTES).expect("lines").len(), 2, "{end:?}");
            let too_long = [b"first\na", &longest[..], end.as_bytes()].concat();
            let error = lines(&too_long, READ_BYTES).expect_err(end);
            assert!(matches!(error, InputError::TooLong { number: 2 }), "{end:?}: {error}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused_with_its_line() {
        assert!(matches!(lines(b"a\n\xFF", 1), Err(InputError::NotUtf8 { number: 2 })), "without an end of line");
        assert!(matches!(lines(b"a\n\xFF\nb", 1), Err(InputError::NotUtf8 { number: 2 })));
    }

    #[test]
    fn the_lines_before_a_bad_one_are_given_first_and_nothing_after_it() {
        let mut reader = reader(b"a\nb\n\xFF\nc\n", 64);
        let before = reader.next_lines().expect("good lines").expect("two of them");
        assert_eq!(before.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(matches!(reader.next_lines(), Err(InputError::NotUtf8 { number: 3 })));
        assert!(matches!(reader.next_lines(), Ok(None)));
    }
}
