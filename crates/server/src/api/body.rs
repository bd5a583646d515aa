use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Body;

use super::Failure;
use crate::problem::{Kind, Problem};

/// A body that is refused is read on up to here, in bytes, so that its sender comes to read the
/// answer; then the connection is closed.
const DISCARD_BYTES_MAX: u64 = 64 << 20;

/// A refused body is read for so long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// What may come as a request's body.
pub(crate) trait RequestBody: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Send> + Send + Unpin + 'static> RequestBody for B {}

/// Everything about a body that can be refused before it is read: it is of this type, not compressed, and not larger
/// than `bytes_max` (`body_bytes`) by its own word.
pub(crate) fn check(parts: &Parts, media_type: &str, bytes_max: usize) -> Result<(), Problem> {
    check_media_type(parts, media_type)?;
    let encoding = parts.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Kind::ContentEncoding, "the body must not be compressed"));
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    Ok(())
}

fn check_media_type(parts: &Parts, expected: &str) -> Result<(), Problem> {
    let value = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let media_type = value.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    if media_type.eq_ignore_ascii_case(expected.as_bytes()) {
        return Ok(());
    }
    let came = String::from_utf8_lossy(media_type);
    let detail = if came.is_empty() {
        format!("send `Content-Type: {expected}`")
    } else {
        format!("send `Content-Type: {expected}`, not {came:?}")
    };
    Err(Problem::new(Kind::MediaType, detail))
}

/// Reads a body of at most `bytes_max` (`body_bytes`), each part of it within `timeout`.
pub(crate) async fn read<B: RequestBody>(mut body: B, bytes_max: usize, timeout: Duration) -> Result<Bytes, Failure> {
    let mut whole = Whole::Nothing;
    while let Some(data) = next(&mut body, timeout).await? {
        if whole.len() + data.len() > bytes_max {
            discard(body);
            return Err(too_large(bytes_max).into());
        }
        whole.add(data);
    }
    Ok(whole.into_bytes())
}

async fn next<B: RequestBody>(body: &mut B, timeout: Duration) -> Result<Option<Bytes>, Failure> {
    loop {
        let Ok(frame) = tokio::time::timeout(timeout, body.frame()).await else {
            return Err(Problem::new(Kind::Timeout, "the request's body did not come in time (head_timeout)").into());
        };
        match frame {
            None => return Ok(None),
            // The sender is gone, or broke the framing: there is nobody to answer.
            Some(Err(_)) => return Err(Failure::Unanswered),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyBytes, format!("the body may have {bytes_max} bytes (body_bytes)"))
}

/// Takes a body that is refused before any of it was read.
pub(crate) fn refuse<B: RequestBody>(parts: &Parts, body: B) {
    // Who waits for `100 Continue` sends nothing after an error.
    if !parts.headers.contains_key(EXPECT) {
        discard(body);
    }
}

/// Reads what is left of a refused body and forgets it, while the answer goes out.
pub(crate) fn discard<B: RequestBody>(mut body: B) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let read = async {
            let mut left = DISCARD_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // Whether it came to its end or not, the connection is closed.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
    });
}

/// A body read so far. Most come in one piece, which is not copied.
enum Whole {
    Nothing,
    Piece(Bytes),
    Pieces(BytesMut),
}

impl Whole {
    fn len(&self) -> usize {
        match self {
            Whole::Nothing => 0,
            Whole::Piece(piece) => piece.len(),
            Whole::Pieces(pieces) => pieces.len(),
        }
    }

    fn add(&mut self, data: Bytes) {
        match self {
            Whole::Nothing => *self = Whole::Piece(data),
            Whole::Piece(first) => {
                let mut pieces = BytesMut::with_capacity(2 * (first.len() + data.len()));
                pieces.extend_from_slice(first);
                pieces.extend_from_slice(&data);
                *self = Whole::Pieces(pieces);
            }
            Whole::Pieces(pieces) => pieces.extend_from_slice(&data),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Whole::Nothing => Bytes::new(),
            Whole::Piece(piece) => piece,
            Whole::Pieces(pieces) => pieces.freeze(),
        }
    }
}
