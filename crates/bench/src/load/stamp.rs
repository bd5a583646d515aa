use std::time::Duration;

/// What an event's payload begins with. Of letters, digits, `~` and `-` alone, so that it comes through JSON, forms and
/// URLs as it is, and is found wherever a server puts it on a `data` line.
///
/// `tw~482913-000007-0003-000001234-000001234567890`: run, topic, lane, number, time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Told apart by it from events of others, and of other runs.
    pub(crate) run: u32,
    pub(crate) topic: u32,
    /// The publisher's connection that sent it: one after the other, so that on a lane order is known.
    pub(crate) lane: u32,
    /// Of the events of its topic on its lane, from 0.
    pub(crate) number: u32,
    /// When it was due, from the beginning of the run.
    pub(crate) due: Duration,
}

impl Stamp {
    pub(crate) const BYTES: usize = 47;

    pub(crate) const PREFIX: &[u8] = b"tw~";

    pub(crate) const RUNS: u32 = 1_000_000;
    pub(crate) const TOPICS_MAX: u32 = 1_000_000;
    pub(crate) const LANES_MAX: u32 = 10_000;

    pub(crate) fn write(self, place: &mut [u8; Self::BYTES]) {
        place.fill(b'-');
        place[..3].copy_from_slice(Self::PREFIX);
        write_digits(&mut place[3..9], self.run.into());
        write_digits(&mut place[10..16], self.topic.into());
        write_digits(&mut place[17..21], self.lane.into());
        write_digits(&mut place[22..31], self.number.into());
        // Two digits fewer than a year in nanoseconds: some eleven days.
        write_digits(&mut place[32..47], u64::try_from(self.due.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The stamp that these bytes are.
    pub(crate) fn read(place: &[u8; Self::BYTES]) -> Option<Stamp> {
        let separated = [9, 16, 21, 31].iter().all(|&at| place[at] == b'-');
        if !separated || !place.starts_with(Self::PREFIX) {
            return None;
        }
        Some(Stamp {
            run: read_digits(&place[3..9])? as u32,
            topic: read_digits(&place[10..16])? as u32,
            lane: read_digits(&place[17..21])? as u32,
            number: read_digits(&place[22..31])? as u32,
            due: Duration::from_nanos(read_digits(&place[32..47])?),
        })
    }
}

/// Decimal digits with zeros before them.
fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// At most 15 digits, so that nothing overflows.
fn read_digits(digits: &[u8]) -> Option<u64> {
    let mut number = 0;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number = number * 10 + u64::from(value);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        let due = Duration::from_nanos(1_234_567_890);
        let stamp = Stamp { run: 482_913, topic: 7, lane: 3, number: 1_234, due };
        let mut place = [0; Stamp::BYTES];
        stamp.write(&mut place);
        assert_eq!(&place, b"tw~482913-000007-0003-000001234-000001234567890");
        assert_eq!(Stamp::read(&place), Some(stamp));
        let most = Stamp { run: 999_999, topic: 999_999, lane: 9_999, number: 999_999_999, due };
        most.write(&mut place);
        assert_eq!(Stamp::read(&place), Some(most));
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        let mut place = *b"tw~482913-000007-0003-000001234-000001234567890";
        for at in 0..Stamp::BYTES {
            let was = std::mem::replace(&mut place[at], b'x');
            assert_eq!(Stamp::read(&place), None, "{at}");
            place[at] = was;
        }
    }
}
