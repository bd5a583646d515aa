//! Until when a certificate is valid (RFC 5280, section 4.1.2.5), which rustls does not tell.

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which the first one leaves out.
const VERSION: u8 = 0xa0;

/// When a certificate's time is over, in seconds since the Unix epoch; `None` if it is no certificate.
pub(super) fn not_after_s(certificate: &[u8]) -> Option<u64> {
    let (mut certificate, _) = value(certificate, SEQUENCE)?;
    let mut to_be_signed = take(&mut certificate, SEQUENCE)?;
    if to_be_signed.first() == Some(&VERSION) {
        take(&mut to_be_signed, VERSION)?;
    }
    take(&mut to_be_signed, INTEGER)?;
    take(&mut to_be_signed, SEQUENCE)?;
    take(&mut to_be_signed, SEQUENCE)?;
    let mut validity = take(&mut to_be_signed, SEQUENCE)?;
    time(&mut validity)?;
    time(&mut validity)
}

fn take<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (content, behind) = value(rest, tag)?;
    *rest = behind;
    Some(content)
}

/// The content of a DER value with this tag, and what lies behind it.
fn value(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], mut rest) = bytes.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let digits = usize::from(first & 0x7f);
        if digits == 0 || digits > 4 {
            return None;
        }
        let (long, behind) = rest.split_at_checked(digits)?;
        length = long.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        rest = behind;
    }
    if found == tag { rest.split_at_checked(length) } else { None }
}

fn time(rest: &mut &[u8]) -> Option<u64> {
    let tag = *rest.first()?;
    let text = std::str::from_utf8(take(rest, tag)?).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut parts = [0; 5];
    for (index, part) in parts.iter_mut().enumerate() {
        *part = number(rest.get(2 * index..2 * index + 2)?)?;
    }
    let [month, day, hour, minute, second] = parts;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // What was over before 1970 is over.
    let days = days_since_1970(year, month, day).unwrap_or(0);
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Counted in years that begin in March, so that the leap day is a year's last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const DAYS_TO_1970: u64 = 719_468;
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).checked_sub(DAYS_TO_1970)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[tag, length][..], content].concat()
    }

    /// A certificate as far as it is looked at.
    fn certificate(version: &[u8], not_after: &[u8]) -> Vec<u8> {
        let validity = [&der(UTC_TIME, b"200101000000Z")[..], not_after].concat();
        let fields =
            [version, &der(INTEGER, &[1]), &der(SEQUENCE, &[]), &der(SEQUENCE, &[]), &der(SEQUENCE, &validity)];
        der(SEQUENCE, &der(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        let version = der(VERSION, &der(INTEGER, &[2]));
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "20501301000000Z", None),
            (GENERALIZED_TIME, "2050010100000Z", None),
            (GENERALIZED_TIME, "20500101000000", None),
            (GENERALIZED_TIME, "2050010100+000Z", None),
            (INTEGER, "20500101000000Z", None),
        ] {
            for version in [&version[..], &[]] {
                let found = not_after_s(&certificate(version, &der(tag, text.as_bytes())));
                assert_eq!(found, expected, "{text}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_is_no_certificate() {
        let whole = certificate(&[], &der(UTC_TIME, b"491231235959Z"));
        assert!(not_after_s(&whole).is_some());
        for end in 0..whole.len() {
            assert_eq!(not_after_s(&whole[..end]), None, "{end}");
        }
        for length in [0x80, 0x84, 0x88, 0xff] {
            let mut lying = whole.clone();
            lying[1] = length;
            assert_eq!(not_after_s(&lying), None);
        }
    }
}
