//! Any cutting of any bytes decodes to the same items, and nothing panics.
//!
//! The first byte says how many of the next are the lengths of the pieces, used in turn; the rest is the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_sse::{DecodeError, Decoder, Item, Limits};

/// Small, so that short inputs come over them.
const SMALL: Limits = Limits { line_bytes_max: 24, event_bytes_max: 32 };

fuzz_target!(|input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let Some((lengths, stream)) = rest.split_at_checked(usize::from(count)) else { return };
    for limits in [SMALL, Limits::default()] {
        let whole = decode(limits, [stream]);
        assert_eq!(decode(limits, stream.chunks(1)), whole, "byte by byte");
        assert_eq!(decode(limits, Pieces { lengths, next: 0, stream }), whole, "in pieces of {lengths:?}");
    }
});

/// All that a decoder shows: the items, and the last event id behind each.
fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(Result<Item, DecodeError>, String)> {
    let mut decoder = Decoder::new(limits);
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        while let Some(item) = decoder.next() {
            seen.push((item, decoder.last_event_id().to_owned()));
        }
    }
    seen
}

/// Cuts `stream` by `lengths`, over and over; without a length that brings it on, the rest is one piece.
struct Pieces<'a> {
    lengths: &'a [u8],
    next: usize,
    stream: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.stream.is_empty() {
            return None;
        }
        let stuck = self.lengths.iter().all(|&length| length == 0);
        let length = if stuck { usize::MAX } else { usize::from(self.lengths[self.next % self.lengths.len()]) };
        self.next += 1;
        let (piece, rest) = self.stream.split_at(length.min(self.stream.len()));
        self.stream = rest;
        Some(piece)
    }
}
