use std::error::Error;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::Instant;

use super::Failure;
use super::bodies::Held;
use crate::hub::Hub;
use crate::problem::{Kind, Problem};

/// A body that is refused is read on up to here, in bytes, so that its sender comes to read the
/// answer; then the connection is closed.
const DISCARD_BYTES_MAX: u64 = 64 << 20;

/// A refused body is read for so long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(30);

/// What is held for a body before any of it has come, in bytes, if it is as long by its sender's word: whoever announces
/// much and sends little would else keep others from being read.
const HELD_AT_ONCE_MAX: usize = 16 * 1024;

/// What may come as a request's body.
pub(crate) trait RequestBody: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Error + Send + Sync> + Send + Unpin + 'static> RequestBody for B {}

/// How often is looked whether a body that does not come on is late: others may want its memory.
const LOOK: Duration = Duration::from_secs(1);

/// A whole body, and its part of the memory for those under way.
pub(crate) struct Received {
    bytes: Bytes,
    _held: Held,
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Everything about a body that can be refused before it is read: it is of this type, not compressed, and not larger
/// than `bytes_max` (`body_bytes`) by its own word.
pub(crate) fn check(parts: &Parts, media_type: &str, bytes_max: usize) -> Result<(), Problem> {
    check_media_type(parts, media_type)?;
    let encoding = parts.headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Kind::ContentEncoding, "the body must not be compressed"));
    }
    if announced(parts).is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    Ok(())
}

/// How long a body is by its sender's word.
fn announced(parts: &Parts) -> Option<u64> {
    parts.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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

/// Reads a body that was [checked](check), at most `body_bytes` of it. Beyond [`HELD_AT_ONCE_MAX`] what has come is held.
pub(crate) async fn read<B: RequestBody>(hub: &Hub, parts: &Parts, mut body: B) -> Result<Received, Failure> {
    let bytes_max = hub.body_bytes;
    let length = announced(parts).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let Some(mut held) = hub.bodies.hold(length.min(bytes_max).min(HELD_AT_ONCE_MAX)) else {
        refuse(parts, body);
        return Err(too_many().into());
    };
    let mut whole = Whole::Nothing;
    let begun = Instant::now();
    while let Some(data) = next(hub, &mut body, whole.len(), begun).await? {
        let bytes = whole.len() + data.len();
        if bytes > bytes_max {
            discard(body);
            return Err(too_large(bytes_max).into());
        }
        if !held.grow_to(bytes) {
            discard(body);
            return Err(too_many().into());
        }
        whole.add(data);
    }
    Ok(Received { bytes: whole.into_bytes(), _held: held })
}

/// The next part of a body of which so much has come.
async fn next<B: RequestBody>(
    hub: &Hub,
    body: &mut B,
    received: usize,
    begun: Instant,
) -> Result<Option<Bytes>, Failure> {
    let part_begun = Instant::now();
    loop {
        let left = hub.bodies.left(received, begun.elapsed(), part_begun.elapsed(), hub.body_timeout);
        if left.is_zero() {
            return Err(Problem::new(
                Kind::Timeout,
                "the request's body did not come in time (head_timeout, or the least rate of a body)",
            )
            .into());
        }
        match tokio::time::timeout(left.min(LOOK), body.frame()).await {
            Err(_) => {}
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => return Err(unreadable(&error)),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
        }
    }
}

/// What is said of a body that does not come to its end.
fn unreadable(error: &(dyn Error + 'static)) -> Failure {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut kinds = causes.filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kinds.next() {
        Some(ErrorKind::UnexpectedEof) => Problem::new(Kind::BodyFraming, "the body ended before it was whole").into(),
        Some(ErrorKind::InvalidData | ErrorKind::InvalidInput) => {
            Problem::new(Kind::BodyFraming, "the body's chunks cannot be read").into()
        }
        // The sender is gone: there is nobody to answer.
        _ => Failure::Unanswered,
    }
}

fn too_many() -> Problem {
    let detail = "the bodies of other requests take as much memory as there is for them (bodies_in_flight_bytes)";
    Problem::new(Kind::BodiesInFlight, detail)
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
