/// Takes apart the chunks of an HTTP/1.1 body, fed in pieces.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(usize),
    /// The CR LF behind the data.
    AfterData,
    Trailer,
    Over,
}

impl Chunks {
    /// Feeds bytes and hands the content in them to `content`.
    ///
    /// # Errors
    /// Says what is wrong with the framing.
    pub fn feed(&mut self, mut bytes: &[u8], mut content: impl FnMut(&[u8])) -> Result<(), String> {
        while let Some(first) = bytes.first() {
            if let State::Data(left) = self.state {
                let (data, rest) = bytes.split_at(left.min(bytes.len()));
                content(data);
                bytes = rest;
                self.state = if left == data.len() { State::AfterData } else { State::Data(left - data.len()) };
                continue;
            }
            if self.state == State::Over {
                return Err("bytes behind the last chunk".to_owned());
            }
            if *first == b'\n' {
                self.end_of_line()?;
            } else {
                self.line.push(*first);
            }
            bytes = &bytes[1..];
        }
        Ok(())
    }

    /// Whether the last chunk has been there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether a chunk is unfinished.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.is_over() && (self.state != State::Size || !self.line.is_empty())
    }

    fn end_of_line(&mut self) -> Result<(), String> {
        let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
        self.line.clear();
        self.state = match self.state {
            State::Size => match usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16) {
                Ok(0) => State::Trailer,
                Ok(size) => State::Data(size),
                Err(_) => return Err(format!("a chunk size like {line:?}")),
            },
            State::AfterData if line.is_empty() => State::Size,
            State::AfterData => return Err(format!("{line:?} behind a chunk")),
            State::Trailer if line.is_empty() => State::Over,
            State::Trailer => State::Trailer,
            State::Data(_) | State::Over => return Err("a line where there is none".to_owned()),
        };
        Ok(())
    }
}

/// Says whether an event stream stands between two frames: a frame is an event or a comment.
#[derive(Debug, Default)]
pub struct Frames {
    line: LineSoFar,
    /// A line of an event has ended, and its blank line has not come.
    in_event: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineSoFar {
    #[default]
    Empty,
    Comment,
    Field,
}

impl Frames {
    /// Feeds bytes of the stream, whose lines end with LF.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.line == LineSoFar::Empty {
                match first {
                    b'\n' => {
                        self.in_event = false;
                        rest = &rest[1..];
                        continue;
                    }
                    b':' => self.line = LineSoFar::Comment,
                    _ => self.line = LineSoFar::Field,
                }
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return };
            self.in_event |= self.line == LineSoFar::Field;
            self.line = LineSoFar::Empty;
            rest = &rest[end + 1..];
        }
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.in_event || self.line != LineSoFar::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_in_any_pieces() {
        let wire = b"5\r\nhello\r\n00a;x=y\r\n, world!!\n\r\n0\r\n\r\n";
        for size in 1..wire.len() {
            let (mut chunks, mut content) = (Chunks::default(), Vec::new());
            for piece in wire.chunks(size) {
                chunks.feed(piece, |bytes| content.extend_from_slice(bytes)).unwrap();
            }
            assert_eq!(content, b"hello, world!!\n");
            assert!(chunks.is_over() && !chunks.is_inside());
        }
        assert!(Chunks::default().feed(b"x\r\n", |_| {}).is_err());
        assert!(Chunks::default().feed(b"1\r\nab\r\n", |_| {}).is_err());
        assert!(Chunks::default().feed(b"0\r\n\r\n0", |_| {}).is_err());
    }

    #[test]
    fn a_chunk_is_unfinished_from_its_size_to_its_line_end() {
        let wire = b"2\r\nab\r\n";
        let mut chunks = Chunks::default();
        for (n, byte) in wire.iter().enumerate() {
            chunks.feed(&[*byte], |_| {}).unwrap();
            assert_eq!(chunks.is_inside(), n + 1 < wire.len(), "after byte {n}");
        }
    }

    #[test]
    fn a_frame_is_unfinished_until_its_blank_line() {
        let mut frames = Frames::default();
        for (piece, inside) in [
            ("", false),
            (":", true),
            ("\n", false),
            (": comment\n", false),
            ("retry: 5\n", true),
            ("\n", false),
            ("id: 7\ndata: x", true),
            ("\n", true),
            ("\ndata", true),
            (": y\n\n", false),
            (":\n:\n", false),
        ] {
            frames.feed(piece.as_bytes());
            assert_eq!(frames.is_inside(), inside, "after {piece:?}");
        }
    }
}
