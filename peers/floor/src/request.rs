use std::ops::Range;

/// What a connection asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// It is not whole yet.
    Begun,
    Wrong,
    Whole {
        method: Method,
        /// Where its body lies.
        body: Range<usize>,
        /// It has a `Last-Event-ID`.
        resumes: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Stream,
    Publish,
    Count,
}

/// The longest request.
const BYTES_MAX: usize = 2 << 20;

impl Request {
    /// The request that these bytes are: as much of HTTP/1.1 as the generator speaks.
    pub fn parse(bytes: &[u8]) -> Request {
        let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            return if bytes.len() < BYTES_MAX { Request::Begun } else { Request::Wrong };
        };
        let Ok(text) = std::str::from_utf8(&bytes[..head]) else { return Request::Wrong };
        let method = match text {
            text if text.starts_with("GET /count ") => Method::Count,
            text if text.starts_with("GET ") => Method::Stream,
            text if text.starts_with("POST ") => Method::Publish,
            _ => return Request::Wrong,
        };
        let value = |name: &str| {
            let mut headers = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            headers.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length = match value("content-length").map_or(Ok(0), str::parse::<usize>) {
            Ok(length) if length <= BYTES_MAX => length,
            _ => return Request::Wrong,
        };
        let body = head + 4..head + 4 + length;
        if bytes.len() < body.end {
            return Request::Begun;
        }
        Request::Whole { method, body, resumes: value("last-event-id").is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_whole_or_begun() {
        let post = b"POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 3\r\n\r\nabc";
        for length in 0..post.len() {
            assert_eq!(Request::parse(&post[..length]), Request::Begun, "{length}");
        }
        let body = post.len() - 3..post.len();
        assert_eq!(Request::parse(post), Request::Whole { method: Method::Publish, body, resumes: false });
    }

    #[test]
    fn what_is_asked_for() {
        let whole = |text: &str| match Request::parse(text.as_bytes()) {
            Request::Whole { method, resumes, .. } => Some((method, resumes)),
            _ => None,
        };
        assert_eq!(whole("GET /count HTTP/1.1\r\n\r\n"), Some((Method::Count, false)));
        assert_eq!(whole("GET /x HTTP/1.1\r\nlast-event-id: 7\r\n\r\n"), Some((Method::Stream, true)));
        assert_eq!(Request::parse(b"PUT / HTTP/1.1\r\n\r\n"), Request::Wrong);
        assert_eq!(Request::parse(b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n"), Request::Wrong);
    }
}
