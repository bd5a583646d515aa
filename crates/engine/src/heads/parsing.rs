use tidewire_core::ClientAddress;

use crate::Head;

/// Header fields of one head, at most: as many as hyper takes, so that a head which is handed over is not
/// refused there.
pub const HEADERS_MAX: usize = 100;

/// Bytes of empty lines that may precede a request line: two are enough for the careless clients of
/// RFC 9112, section 2.2.
const LEADING_BYTES_MAX: usize = 4;

/// What a client says first that knows the hub to speak HTTP/2 (RFC 9113, section 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes of a head come to.
pub(crate) enum Parsed<R> {
    /// The head is whole; what the reader of it made of it.
    Whole(R),
    /// More bytes must come.
    Partial,
    /// There are too many header fields.
    TooLarge,
    /// It is the beginning of HTTP/2.
    Http2,
    /// It is no HTTP/1 request.
    Malformed,
}

/// Parses a request head and shows it to `read`. `seen` bytes at the front are known to hold no end
/// of a head, so that a head which comes byte by byte is not parsed anew for each. What came first is parsed, and the
/// request line once it is there: who speaks another protocol is told so, and does not wait for the end of its time.
pub(crate) fn parse<R>(bytes: &[u8], seen: usize, peer: ClientAddress, read: impl FnOnce(&Head<'_>) -> R) -> Parsed<R> {
    if bytes.starts_with(HTTP2_PREFACE) {
        return Parsed::Http2;
    }
    if HTTP2_PREFACE.starts_with(bytes) {
        return Parsed::Partial;
    }
    // An empty line before the request line ends no head, and whoever sends nothing else would have
    // all of it parsed anew for each.
    if bytes.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count() > LEADING_BYTES_MAX {
        return Parsed::Malformed;
    }
    if !(seen == 0 || has_first_line(bytes, seen) || has_blank_line(&bytes[seen.saturating_sub(3)..])) {
        return Parsed::Partial;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return Parsed::TooLarge,
        Err(_) => return Parsed::Malformed,
    }
    match (request.method, request.path, request.version) {
        (Some(method), Some(target), Some(version_minor)) => {
            Parsed::Whole(read(&Head { method, target, version_minor, headers: request.headers, peer }))
        }
        _ => Parsed::Malformed,
    }
}

/// Whether the request line ends in what came after the first `seen` bytes.
fn has_first_line(bytes: &[u8], seen: usize) -> bool {
    let is_end = |bytes: &[u8]| bytes.iter().skip_while(|byte| b"\r\n".contains(byte)).any(|&byte| byte == b'\n');
    bytes[seen..].contains(&b'\n') && !is_end(&bytes[..seen]) && is_end(bytes)
}

fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: ClientAddress = ClientAddress::Unix;

    fn target(bytes: &[u8], seen: usize) -> Option<String> {
        match parse(bytes, seen, PEER, |head| head.target.to_owned()) {
            Parsed::Whole(target) => Some(target),
            _ => None,
        }
    }

    #[test]
    fn a_head_is_found_whole_wherever_it_was_cut() {
        let head = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(target(&head[..cut], 0), None);
            assert_eq!(target(head, cut).as_deref(), Some("/x"), "cut at {cut}");
        }
    }

    /// The story: for each byte that came of a long head, everything before it was searched for its end
    /// again, and empty lines before a request line were parsed again as well.
    #[test]
    fn a_few_empty_lines_may_precede_a_request_and_one_more_is_malformed() {
        let head = |lines: usize| format!("{}GET /x HTTP/1.1\r\n\r\n", "\r\n".repeat(lines));
        for cut in 0..=LEADING_BYTES_MAX {
            let head = head(LEADING_BYTES_MAX / 2);
            assert_eq!(target(&head.as_bytes()[..cut], 0), None);
            assert_eq!(target(head.as_bytes(), cut).as_deref(), Some("/x"), "cut at {cut}");
        }
        let more = head(LEADING_BYTES_MAX / 2 + 1);
        assert!(matches!(parse(more.as_bytes(), 0, PEER, |_| ()), Parsed::Malformed));
        let newlines = "\n".repeat(LEADING_BYTES_MAX + 1);
        assert!(matches!(parse(newlines.as_bytes(), 0, PEER, |_| ()), Parsed::Malformed));
    }

    /// The story: who spoke TLS or HTTP/0.9 to the hub's port, which have no empty line, waited for `head_timeout` to be told
    /// that its request took too long.
    #[test]
    fn another_protocol_is_known_by_its_first_bytes_or_line() {
        let is_malformed = |bytes: &[u8], seen| matches!(parse(bytes, seen, PEER, |_| ()), Parsed::Malformed);
        assert!(is_malformed(b"\x16\x03\x01\x02", 0));
        for seen in 0..b"GET /\r".len() {
            assert!(is_malformed(b"GET /\r\n", seen), "{seen} bytes came before");
            assert!(is_malformed(b"\r\nGET /\r\n", seen + 2), "{seen} bytes came before");
        }
        for part in ["", "\r", "\r\n", "G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nx"] {
            assert!(matches!(parse(part.as_bytes(), 0, PEER, |_| ()), Parsed::Partial), "{part:?}");
        }
    }

    #[test]
    fn the_beginning_of_http_2_is_found_whole_wherever_it_was_cut() {
        for cut in 0..HTTP2_PREFACE.len() {
            assert!(matches!(parse(&HTTP2_PREFACE[..cut], 0, PEER, |_| ()), Parsed::Partial), "{cut}");
            let whole = [HTTP2_PREFACE, b"\0\0"].concat();
            assert!(matches!(parse(&whole, cut, PEER, |_| ()), Parsed::Http2), "{cut}");
        }
        for other in [&b"PRI * HTTP/2.0\r\n\r\nXX"[..], b"PRI * HTTP/1.2\r\n", b"PRI * HTTP/2.0\r\nhost: a\r\n\r\n"] {
            assert!(matches!(parse(other, 0, PEER, |_| ()), Parsed::Malformed), "{other:?}");
        }
    }

    #[test]
    fn one_field_too_many_is_too_large_and_nonsense_is_malformed() {
        let head = |fields: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields));
        assert_eq!(target(head(HEADERS_MAX).as_bytes(), 0).as_deref(), Some("/"));
        assert!(matches!(parse(head(HEADERS_MAX + 1).as_bytes(), 0, PEER, |_| ()), Parsed::TooLarge));
        assert!(matches!(parse(b"\x16\x03\x01\n\n", 0, PEER, |_| ()), Parsed::Malformed));
    }
}
