use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Durability, LogFormat, LogLevel, PublicUrl, RequestLogging};
use crate::AllowedOrigins;

/// A value of a key, as it stands in a file, a variable or a flag. The error says what was
/// expected.
pub(super) trait Value: Sized {
    fn parse(text: &str) -> Result<Self, String>;
}

impl Value for bool {
    fn parse(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

impl Value for usize {
    fn parse(text: &str) -> Result<usize, String> {
        text.parse().map_err(|_| "expected a whole number".to_owned())
    }
}

impl Value for SocketAddr {
    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| "expected an address and a port, as 127.0.0.1:7788 or [::1]:7788".to_owned())
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
    }
}

impl Value for AllowedOrigins {
    fn parse(text: &str) -> Result<AllowedOrigins, String> {
        AllowedOrigins::parse(text)
    }
}

impl Value for Durability {
    fn parse(text: &str) -> Result<Durability, String> {
        match text {
            "commit" => Ok(Durability::Commit),
            "os" => Ok(Durability::Os),
            "memory" => Ok(Durability::Memory),
            _ => Err("expected commit, os or memory".to_owned()),
        }
    }
}

impl Value for LogLevel {
    fn parse(text: &str) -> Result<LogLevel, String> {
        match text {
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            _ => Err("expected error, warn, info or debug".to_owned()),
        }
    }
}

impl Value for LogFormat {
    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

impl Value for RequestLogging {
    fn parse(text: &str) -> Result<RequestLogging, String> {
        match text {
            "none" => Ok(RequestLogging::None),
            "refused" => Ok(RequestLogging::Refused),
            "all" => Ok(RequestLogging::All),
            _ => Err("expected none, refused or all".to_owned()),
        }
    }
}

impl Value for PublicUrl {
    fn parse(text: &str) -> Result<PublicUrl, String> {
        let expected = || "expected an http or https URL without query and fragment, as https://hub.example".to_owned();
        let uri: http::Uri = text.parse().map_err(|_| expected())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.authority().is_none() || uri.query().is_some() || text.contains('#') {
            return Err(expected());
        }
        Ok(PublicUrl(text.trim_end_matches('/').to_owned()))
    }
}

const DURATION_UNITS: [(&str, u64); 7] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("", 0)];

impl Value for Duration {
    fn parse(text: &str) -> Result<Duration, String> {
        let expected = || "expected a whole number and a unit (ms, s, min, h, d), as 500ms or 2min".to_owned();
        let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
        let unit_ms = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms);
        match unit_ms.filter(|&ms| ms > 0).map(|ms| number.checked_mul(ms)) {
            Some(Some(ms)) => Ok(Duration::from_millis(ms)),
            Some(None) => Err("the duration is too long".to_owned()),
            None if number == 0 && unit.is_empty() => Ok(Duration::ZERO),
            None => Err(expected()),
        }
    }
}

/// A duration, or `none` where there is to be no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound(pub(super) Option<Duration>);

impl Value for Bound {
    fn parse(text: &str) -> Result<Bound, String> {
        if text == "none" {
            return Ok(Bound(None));
        }
        Duration::parse(text).map(|bound| Bound(Some(bound))).map_err(|expected| format!("{expected}, or none"))
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl Value for Size {
    fn parse(text: &str) -> Result<Size, String> {
        let expected = || "expected a whole number of bytes, or one with a unit (KiB, MiB, GiB), as 64MiB".to_owned();
        let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
        let unit_bytes = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
        let bytes = number.checked_mul(unit_bytes.ok_or_else(expected)?);
        bytes.map(Size).ok_or_else(|| "the size is too large".to_owned())
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_a_unit() {
        let parse = |text| Duration::parse(text).ok().map(|d| d.as_millis());
        assert_eq!(parse("5s"), Some(5_000));
        assert_eq!(parse("500ms"), Some(500));
        assert_eq!(parse("2min"), Some(120_000));
        assert_eq!(parse("2 m"), Some(120_000));
        assert_eq!(parse("7d"), Some(604_800_000));
        assert_eq!(parse("0"), Some(0));
        for text in ["", "5", "s", "-5s", "5 parsecs", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_bound_is_a_duration_or_none() {
        assert_eq!(Bound::parse("none"), Ok(Bound(None)));
        assert_eq!(Bound::parse("0"), Ok(Bound(Some(Duration::ZERO))));
        assert_eq!(Bound::parse("30s"), Ok(Bound(Some(Duration::from_secs(30)))));
        for text in ["", "None", "never", "30"] {
            assert!(Bound::parse(text).is_err_and(|expected| expected.ends_with(", or none")), "{text:?}");
        }
    }

    #[test]
    fn durability_is_one_of_three() {
        assert_eq!(Durability::parse("commit"), Ok(Durability::Commit));
        assert_eq!(Durability::parse("os"), Ok(Durability::Os));
        assert_eq!(Durability::parse("memory"), Ok(Durability::Memory));
        assert_eq!(Durability::parse("OS"), Err("expected commit, os or memory".to_owned()));
    }

    #[test]
    fn sizes_are_bytes_unless_a_unit_is_named() {
        let parse = |text| Size::parse(text).ok().map(|size| size.0);
        assert_eq!(parse("64MiB"), Some(64 << 20));
        assert_eq!(parse("1 KiB"), Some(1024));
        assert_eq!(parse("12"), Some(12));
        assert_eq!(parse("2MB"), Some(2_000_000));
        for text in ["", "MiB", "64mib", "-1", "1.5GiB", "99999999TiB"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_public_url_is_absolute_and_bare() {
        let parse = |text| PublicUrl::parse(text).ok().map(|url| url.0);
        assert_eq!(parse("https://hub.example"), Some("https://hub.example".to_owned()));
        assert_eq!(parse("http://127.0.0.1:7788/"), Some("http://127.0.0.1:7788".to_owned()));
        for text in ["", "hub.example", "ftp://hub.example", "/hub", "https://hub.example/?a", "https://hub.example/#a"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
