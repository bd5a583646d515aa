/// What an event's payload begins with: its publisher and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

impl Mark {
    /// `00063-0000001234`.
    pub(crate) const BYTES: usize = 16;

    const PUBLISHER_BYTES: usize = 5;

    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[Self::PUBLISHER_BYTES] = b'-';
        write_digits(&mut payload[..Self::PUBLISHER_BYTES], self.publisher as u64);
        write_digits(&mut payload[Self::PUBLISHER_BYTES + 1..Self::BYTES], self.number);
    }

    /// The mark at the beginning of a payload.
    pub(crate) fn read(payload: &str) -> Option<Mark> {
        let (publisher, number) = payload.get(..Self::BYTES)?.split_once('-')?;
        Some(Mark { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
    }
}

/// Decimal digits with zeros before them: no formatting a request.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let mut payload = [b'x'; 20];
        let mark = Mark { publisher: 63, number: 1_234 };
        mark.write(&mut payload);
        assert_eq!(&payload, b"00063-0000001234xxxx");
        assert_eq!(Mark::read("00063-0000001234xxxx"), Some(mark));
        assert_eq!(Mark::read("00063-00000012"), None);
        assert_eq!(Mark::read("00063x0000001234xxxx"), None);
    }
}
