//! Which form of an answer a client accepts (RFC 9110, section 12.5.1).

/// How much a client wants a media type: thousandths from 0, not at all, to 1000.
///
/// Of the ranges that cover the type the most specific one decides. A header that is absent
/// accepts everything; what cannot be read in it is passed over.
pub(crate) fn weight(accept: Option<&str>, media_type: &str) -> u16 {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else { return 1000 };
    let (main_type, _) = media_type.split_once('/').unwrap_or((media_type, ""));
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specific = match name.split_once('/') {
            _ if name.eq_ignore_ascii_case(media_type) => 3,
            Some((main, "*")) if main.eq_ignore_ascii_case(main_type) => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1000), |(_, value)| thousandths(value.trim()));
        if let Some(quality) = quality {
            best = best.max((specific, quality));
        }
    }
    best.1
}

fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        let sse = |accept| weight(accept, "text/event-stream");
        assert_eq!(sse(None), 1000);
        assert_eq!(sse(Some("")), 1000);
        assert_eq!(sse(Some("*/*")), 1000);
        assert_eq!(sse(Some("text/event-stream")), 1000);
        assert_eq!(sse(Some("Text/Event-Stream; charset=utf-8")), 1000);
        assert_eq!(sse(Some("text/*;q=0.5, */*;q=0.9")), 500);
        assert_eq!(sse(Some("*/*, text/event-stream;q=0")), 0);
        assert_eq!(sse(Some("application/json")), 0);
        assert_eq!(sse(Some("application/json, text/event-stream;q=0.25")), 250);
        assert_eq!(sse(Some("text/html, */*; Q=0.8")), 800);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let sse = |accept| weight(Some(accept), "text/event-stream");
        assert_eq!(sse("text/event-stream;q=2"), 0);
        assert_eq!(sse("text/event-stream;q=, */*"), 1000);
        assert_eq!(sse(";;;,,,=/"), 0);
        assert_eq!(sse("text/event-stream;q=1.001"), 0);
        assert_eq!(sse("text/event-stream;q=0.1234, */*;q=0.1"), 100);
    }
}
