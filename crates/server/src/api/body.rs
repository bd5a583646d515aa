use std::time::Duration;

use bytes::{Bytes, BytesMut};
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

pub(crate) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyBytes, format!("the body may have {bytes_max} bytes (body_bytes)"))
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
