use std::io;
use std::time::Duration;

use super::carrier::Carrier;

/// How much is read at a time of what nobody wants, in bytes.
const READ_BYTES: usize = 4 * 1024;

/// How much is read of it in all, in bytes. Who sends more than that behind an answer is reset.
const UNWANTED_BYTES_MAX: usize = 256 * 1024;

/// Ends a connection with this answer, and reads what the client still sends until it closes: closing at once with bytes
/// unread would reset the connection, and take the answer from a client that has not read it yet.
pub(super) async fn close(mut carrier: Carrier, answer: &[u8], within: Duration) {
    // Whoever does not close by then has had time to read the answer.
    if let Ok(Err(error)) = tokio::time::timeout(within, end(&mut carrier, answer)).await {
        tracing::debug!(%error, "a connection ended before its end");
    }
}

async fn end(carrier: &mut Carrier, mut answer: &[u8]) -> io::Result<()> {
    while !answer.is_empty() {
        match carrier.try_write(answer) {
            Ok(written) => answer = &answer[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => carrier.socket().writable().await?,
            Err(error) => return Err(error),
        }
    }
    while let Err(error) = carrier.try_flush() {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        carrier.socket().writable().await?;
    }
    carrier.end_writing()?;
    let (mut unread, mut unwanted) = (vec![0; READ_BYTES], 0);
    while unwanted < UNWANTED_BYTES_MAX {
        match carrier.try_read(&mut unread) {
            Ok(0) => return Ok(()),
            Ok(read) => unwanted += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => carrier.socket().readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
