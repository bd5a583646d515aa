use std::io;

/// Takes the framing of a chunked body (RFC 9112, section 7.1) off it, wherever the body is cut. Frames of the log are
/// chunks, and no other protocol wants them so. Extensions and trailers are not known: the hub writes none.
#[derive(Debug, Default)]
pub(super) struct Unchunk(State);

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the digits of a chunk's size.
    Size(Option<u32>),
    /// Before the line feed behind them.
    SizeEnd(u32),
    /// So many bytes before the end of a chunk, and not 0.
    Data(u32),
    /// Before the carriage return behind a chunk, the last or another.
    End { is_last: bool },
    /// Before the line feed behind that.
    EndOfLine { is_last: bool },
    /// Behind the last chunk.
    Over,
}

impl Default for State {
    fn default() -> State {
        State::Size(None)
    }
}

impl Unchunk {
    /// Whether the last chunk has come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, State::Over)
    }

    /// Appends what the next bytes of the body hold to `out`, as far as that has `room` in all. Says how many bytes of
    /// the body that were.
    ///
    /// # Errors
    /// When the body is not chunked: what was in the log is not what was put there.
    pub(super) fn take(&mut self, body: &[u8], out: &mut Vec<u8>, room: usize) -> io::Result<usize> {
        let mut rest = body;
        while let Some((&byte, behind)) = rest.split_first() {
            if let State::Data(left) = self.0 {
                let most = (left as usize).min(room.saturating_sub(out.len()));
                let (data, behind) = rest.split_at(most.min(rest.len()));
                if data.is_empty() {
                    break;
                }
                out.extend_from_slice(data);
                let taken = u32::try_from(data.len()).expect("at most what is left, which is a u32");
                self.0 = if taken == left { State::End { is_last: false } } else { State::Data(left - taken) };
                rest = behind;
            } else {
                self.0 = self.0.behind(byte).ok_or(io::ErrorKind::InvalidData)?;
                rest = behind;
            }
        }
        Ok(body.len() - rest.len())
    }
}

impl State {
    /// Behind a byte of the framing, if it may come here.
    fn behind(self, byte: u8) -> Option<State> {
        match (self, byte) {
            (State::Size(Some(size)), b'\r') => Some(State::SizeEnd(size)),
            (State::Size(size), _) => {
                let digit = char::from(byte).to_digit(16)?;
                Some(State::Size(Some(size.unwrap_or(0).checked_mul(16)? | digit)))
            }
            (State::SizeEnd(0), b'\n') => Some(State::End { is_last: true }),
            (State::SizeEnd(size), b'\n') => Some(State::Data(size)),
            (State::End { is_last }, b'\r') => Some(State::EndOfLine { is_last }),
            (State::EndOfLine { is_last: false }, b'\n') => Some(State::default()),
            (State::EndOfLine { is_last: true }, b'\n') => Some(State::Over),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The oracle: finds each line and cuts behind it, with the whole body at hand.
    fn naive(mut body: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let line = body.windows(2).position(|two| two == b"\r\n").expect("a line");
            let size = usize::from_str_radix(str::from_utf8(&body[..line]).expect("text"), 16).expect("a size");
            body = &body[line + 2..];
            if size == 0 {
                assert_eq!(body, b"\r\n");
                return data;
            }
            data.extend_from_slice(&body[..size]);
            body = &body[size + 2..];
        }
    }

    fn body(chunks: &[Vec<u8>], zeros: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for chunk in chunks {
            body.extend_from_slice(format!("{}{:x}\r\n", "0".repeat(zeros), chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        body
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_chunks_hold_however_it_is_cut_and_whatever_room_there_is(
            chunks in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 1..300), 0..8),
            zeros in 0_usize..4,
            cuts in prop::collection::vec((0_usize..40, 0_usize..40), 1..20),
        ) {
            let body = body(&chunks, zeros);
            let (mut unchunk, mut out, mut taken, mut whole) = (Unchunk::default(), Vec::new(), 0, Vec::new());
            // Every round has room, and every other round bytes, so that there is progress.
            for (length, room) in cuts.into_iter().cycle().flat_map(|(length, room)| [(length, room), (1, 1)]) {
                if taken == body.len() {
                    break;
                }
                prop_assert!(!unchunk.is_over());
                let piece = &body[taken..(taken + length).min(body.len())];
                let now = unchunk.take(piece, &mut out, room).expect("a chunked body");
                prop_assert!(out.len() <= room);
                prop_assert!(now == piece.len() || out.len() == room, "{now} of {} bytes", piece.len());
                taken += now;
                whole.append(&mut out);
            }
            prop_assert!(unchunk.is_over());
            prop_assert_eq!(whole, naive(&body));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'f'), any::<u8>()], 0..100)) {
            let _ = Unchunk::default().take(&bytes, &mut Vec::new(), 10);
        }
    }

    /// What ends a frame is taken though there is no room, so that a frame is whole once its data is.
    #[test]
    fn framing_takes_no_room() {
        let (mut unchunk, mut out) = (Unchunk::default(), Vec::new());
        let body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(unchunk.take(body, &mut out, 3).ok(), Some(11));
        assert_eq!(unchunk.take(&body[11..], &mut out, 5).ok(), Some(9));
        assert!(unchunk.is_over() && out == b"abcde");
    }

    #[test]
    fn what_is_not_chunked_is_an_error() {
        for body in [
            &b"\r\n"[..],
            b"x",
            b"1;a=b\r\n",
            b"1\n",
            b"1\rx",
            b"1\r\nax",
            b"1\r\na\rx",
            b"0\r\nA: b",
            b"100000000\r\n",
        ] {
            let taken = Unchunk::default().take(body, &mut Vec::new(), 100);
            assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{body:?}");
        }
        let mut unchunk = Unchunk::default();
        assert!(unchunk.take(b"0\r\n\r\n0", &mut Vec::new(), 100).is_err(), "behind the end");
    }
}
