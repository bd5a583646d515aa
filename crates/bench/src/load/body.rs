use std::ops::Range;

use crate::http::BodyLength;

/// The most digits of a chunk's length.
const LENGTH_DIGITS_MAX: u8 = 12;

/// Where the body of an answer stands: which of the bytes received are its content, and when it ends. Any split of the
/// bytes gives the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// So many bytes are left.
    Length(u64),
    UntilClose,
    Chunked(Chunk),
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Chunk {
    /// In the digits of a length.
    Length {
        bytes: u64,
        digits: u8,
    },
    /// Behind them, up to the end of the line.
    Extension(u64),
    /// In the content, of which so much is left.
    Content(u64),
    /// In the line end behind it.
    Behind,
    /// In the lines behind the last chunk: whether this one is empty so far.
    Trailer {
        empty: bool,
    },
    Ended,
}

/// What is not a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

impl Body {
    pub(crate) fn new(length: BodyLength) -> Body {
        match length {
            BodyLength::Bytes(bytes) => Body::Length(bytes as u64),
            BodyLength::Unsaid => Body::UntilClose,
            BodyLength::Chunked => Body::Chunked(Chunk::Length { bytes: 0, digits: 0 }),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunk::Ended))
    }

    /// The next piece of content in `bytes`, and how many bytes were looked at. To be called with the rest until nothing
    /// is left or the body has ended. The piece may be empty.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<(Range<usize>, usize), BadChunk> {
        let chunk = match self {
            Body::UntilClose => return Ok((0..bytes.len(), bytes.len())),
            Body::Length(left) => {
                let taken = take(left, bytes.len());
                return Ok((0..taken, taken));
            }
            Body::Chunked(chunk) => chunk,
        };
        let mut at = 0;
        while at < bytes.len() {
            if let Chunk::Content(left) = chunk {
                let taken = take(left, bytes.len() - at);
                if *left == 0 {
                    *chunk = Chunk::Behind;
                }
                return Ok((at..at + taken, at + taken));
            }
            if matches!(chunk, Chunk::Ended) {
                break;
            }
            *chunk = chunk.after(bytes[at])?;
            at += 1;
        }
        Ok((at..at, at))
    }
}

impl Chunk {
    /// Where one is behind a byte that is not content.
    fn after(self, byte: u8) -> Result<Chunk, BadChunk> {
        let begun = |bytes| if bytes == 0 { Chunk::Trailer { empty: true } } else { Chunk::Content(bytes) };
        match (self, byte) {
            (Chunk::Length { digits: 0, .. }, b'\n' | b'\r' | b';' | b' ') => Err(BadChunk),
            (Chunk::Length { bytes, .. } | Chunk::Extension(bytes), b'\n') => Ok(begun(bytes)),
            (Chunk::Length { bytes, .. }, b'\r' | b';' | b' ' | b'\t') => Ok(Chunk::Extension(bytes)),
            (Chunk::Length { bytes, digits }, digit) => {
                let value = char::from(digit).to_digit(16).ok_or(BadChunk)?;
                if digits == LENGTH_DIGITS_MAX {
                    return Err(BadChunk);
                }
                Ok(Chunk::Length { bytes: bytes * 16 + u64::from(value), digits: digits + 1 })
            }
            (Chunk::Extension(_), _) => Ok(self),
            (Chunk::Behind, b'\r') => Ok(Chunk::Behind),
            (Chunk::Behind, b'\n') => Ok(Chunk::Length { bytes: 0, digits: 0 }),
            (Chunk::Behind, _) => Err(BadChunk),
            (Chunk::Trailer { empty }, b'\n') => Ok(if empty { Chunk::Ended } else { Chunk::Trailer { empty: true } }),
            (Chunk::Trailer { .. }, b'\r') => Ok(self),
            (Chunk::Trailer { .. }, _) => Ok(Chunk::Trailer { empty: false }),
            (Chunk::Content(_) | Chunk::Ended, _) => Ok(self),
        }
    }
}

/// As much of what is left as there is.
fn take(left: &mut u64, there: usize) -> usize {
    let taken = there.min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= taken as u64;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content of a body that comes in these pieces, and what is left when it has ended.
    fn read(length: BodyLength, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), BadChunk> {
        let (mut body, mut content, mut left) = (Body::new(length), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !body.has_ended() {
                let (range, used) = body.next(rest)?;
                content.extend_from_slice(&rest[range]);
                rest = &rest[used..];
            }
            left += rest.len();
        }
        Ok((content, left))
    }

    #[test]
    fn chunks_in_any_two_pieces() {
        let body = b"5\r\nhello\r\n1;x=y\r\n \r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\nnext";
        for at in 0..=body.len() {
            let (first, second) = body.split_at(at);
            let got = read(BodyLength::Chunked, &[first, second]);
            assert_eq!(got, Ok((b"hello 0123456789".to_vec(), 4)), "{at}");
        }
    }

    #[test]
    fn lengths_and_ends() {
        assert_eq!(read(BodyLength::Bytes(3), &[b"ab", b"cd"]), Ok((b"abc".to_vec(), 1)));
        assert_eq!(read(BodyLength::Unsaid, &[b"ab", b"cd"]), Ok((b"abcd".to_vec(), 0)));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for wrong in [&b"x\r\n"[..], b"\r\n", b"1\r\nab\r\n", b"1111111111111\r\n", b"-1\r\n"] {
            assert_eq!(read(BodyLength::Chunked, &[wrong]), Err(BadChunk), "{wrong:?}");
        }
    }

    proptest! {
        /// Whatever comes, it is read or refused, and where it is cut makes no difference.
        #[test]
        fn any_split_gives_the_same(
            bytes in prop::collection::vec(prop::sample::select(&b"0123fA\r\n\n; x"[..]), 0..60),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            for length in [BodyLength::Chunked, BodyLength::Bytes(17), BodyLength::Unsaid] {
                prop_assert_eq!(read(length, &pieces), read(length, &[&bytes]));
            }
        }
    }
}
