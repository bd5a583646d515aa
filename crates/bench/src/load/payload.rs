use super::stamp::Stamp;

/// The letters and digits that fill a payload, a prime number of them and each once: stamps that differ in one digit have
/// fillings that differ in every byte.
const FILLING: &[u8; 61] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678";

/// What is published as an event's data: its stamp, and a filling that follows from it. So whoever reads the stamp knows what
/// all of the data must be, and nothing is kept of what was published.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// [`FILLING`] over and over: as much as any payload is filled with, wherever that begins.
    filling: Vec<u8>,
    filling_bytes: usize,
}

impl Payload {
    /// The shortest: with less than a byte of filling, a wrong digit in a stamp would not show.
    pub(crate) const BYTES_MIN: usize = Stamp::BYTES + 1;

    /// Payloads of so many bytes, at least [`Self::BYTES_MIN`].
    pub(crate) fn new(bytes: u32) -> Payload {
        let filling_bytes = (bytes as usize).saturating_sub(Stamp::BYTES);
        let filling = FILLING.iter().copied().cycle().take(FILLING.len() + filling_bytes).collect();
        Payload { filling, filling_bytes }
    }

    /// What stands behind a stamp.
    pub(crate) fn filling(&self, stamp: &Stamp) -> &[u8] {
        let due = stamp.due.as_nanos() as u64;
        let numbers = [stamp.run, stamp.topic, stamp.lane, stamp.number].map(u64::from);
        let from = (due + numbers.iter().sum::<u64>()) % FILLING.len() as u64;
        &self.filling[from as usize..][..self.filling_bytes]
    }

    /// Writes the payload of an event in place of what is there.
    pub(crate) fn write(&self, stamp: Stamp, place: &mut Vec<u8>) {
        let mut digits = [0; Stamp::BYTES];
        stamp.write(&mut digits);
        place.clear();
        place.extend_from_slice(&digits);
        place.extend_from_slice(self.filling(&stamp));
    }

    /// Whether a byte may be of a payload: behind one, another byte stands.
    pub(crate) fn may_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'~')
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn another_digit_has_another_filling() {
        let payload = Payload::new(Payload::BYTES_MIN as u32);
        let stamp = Stamp { run: 482_913, topic: 7, lane: 3, number: 1_234, due: Duration::from_nanos(1_234_567_890) };
        let mut text = Vec::new();
        payload.write(stamp, &mut text);
        assert_eq!(text.len(), Payload::BYTES_MIN);
        for at in 0..Stamp::BYTES {
            for digit in (b'0'..=b'9').filter(|&digit| text[at].is_ascii_digit() && text[at] != digit) {
                let mut changed = text.clone();
                changed[at] = digit;
                let read = changed.first_chunk().and_then(Stamp::read).expect("digits are a stamp");
                assert_ne!(payload.filling(&read), payload.filling(&stamp), "{digit} at {at}");
            }
        }
    }
}
