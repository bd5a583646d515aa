//! Numbers for readers.

/// Three digits that count, or the whole number with its thousands apart.
pub(crate) fn readable(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    let decimals = match number.abs() {
        below if below < 1.0 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => return thousands(number),
    };
    format!("{number:.decimals$}")
}

fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::from(if number < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size as `256MiB`, `64 KiB` or a number of bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size such as 256MiB".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a size such as 256MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let all = [0.0, 0.1234, 1.234, 12.34, 123.4, 1_234.5, 1_234_567.0, -12_345.0, f64::NAN];
        let texts = ["0.000", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "-12,345", "-"];
        assert_eq!(all.map(readable), texts);
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("256MiB"), Ok(256 << 20));
        assert_eq!(parse_size("64 KiB"), Ok(64 << 10));
        assert_eq!(parse_size("7"), Ok(7));
        for wrong in ["", "MiB", "1MB", "-1", "99999999999999999999", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
