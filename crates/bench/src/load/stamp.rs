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
            run: read_digits(place, 9, 6)? as u32,
            topic: read_digits(place, 16, 6)? as u32,
            lane: read_digits(place, 21, 4)? as u32,
            number: read_digits(place, 31, 9)? as u32,
            due: Duration::from_nanos(read_digits(place, 47, 15)?),
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

/// The digits that end before `end`: at most 15, so that nothing overflows. Eight at a time, since every delivery has its
/// stamp read.
fn read_digits(place: &[u8; Stamp::BYTES], end: usize, digits: usize) -> Option<u64> {
    let low = eight_digits(place, end, digits.min(8))?;
    match digits.checked_sub(8) {
        None | Some(0) => Some(low),
        Some(more) => Some(eight_digits(place, end - 8, more)? * 100_000_000 + low),
    }
}

/// At most eight digits, seen as the bytes of one number: neighbours are joined to numbers of two digits, these to numbers of
/// four, and these to one of eight.
fn eight_digits(place: &[u8; Stamp::BYTES], end: usize, digits: usize) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let bytes = place.get(end.checked_sub(8)?..end)?;
    let bytes = u64::from_le_bytes(bytes.try_into().expect("it is eight bytes long"));
    // What stands before the digits counts as zeros.
    let before = (1u64 << (8 * (8 - digits))) - 1;
    let bytes = (bytes & !before) | (ZEROS & before);
    // From `0` to `9` the high half is 3, and still is with 6 added.
    let are_digits = bytes & HIGH_HALVES == ZEROS && (bytes + 0x0606_0606_0606_0606) & HIGH_HALVES == ZEROS;
    let ones = bytes & !HIGH_HALVES;
    let twos = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos * 100 + (twos >> 16)) & 0x0000_ffff_0000_ffff;
    let all = (fours * 10_000 + (fours >> 32)) & 0xffff_ffff;
    are_digits.then_some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            let was = place[at];
            for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit() && *byte != was) {
                place[at] = other;
                assert_eq!(Stamp::read(&place), None, "{other} at {at}");
            }
            place[at] = was;
        }
    }

    proptest! {
        #[test]
        fn digits_are_the_number_that_they_spell(number in 0..1_000_000_000_000_000u64, digits in 1..=15usize) {
            let text = format!("{number:015}");
            let mut place = [b'x'; Stamp::BYTES];
            place[17..32].copy_from_slice(text.as_bytes());
            let expected = number % 10u64.pow(digits as u32);
            prop_assert_eq!(read_digits(&place, 32, digits), Some(expected));
        }
    }
}
