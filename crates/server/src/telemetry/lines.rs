//! Where lines go: those of requests by way of a thread, since shards tell some of them, and whoever reads standard error
//! may be slow.

use std::io::{self, Stderr, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::REQUESTS;

/// Lines of requests that may wait to be written; others are dropped and counted.
pub(crate) const WAITING_MAX: usize = 8_192;

/// How long the last lines may take to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Message {
    Line(Vec<u8>),
    /// Dropped once everything before it is written.
    Flush(#[expect(dead_code, reason = "it is there to be dropped")] SyncSender<()>),
}

/// Starts the thread that writes lines of requests.
pub(super) fn start() -> io::Result<()> {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    if QUEUE.set(sender).is_ok() {
        std::thread::Builder::new().name("request-log".to_owned()).spawn(move || write_all(&receiver))?;
    }
    Ok(())
}

fn write_all(receiver: &Receiver<Message>) {
    for message in receiver {
        if let Message::Line(line) = message {
            // Nobody is there to be told that nobody can be told.
            let _ = io::stderr().write_all(&line);
        }
    }
}

/// Waits until the lines told so far are written, if that does not take long.
pub(crate) fn flush() {
    let (done, is_done) = sync_channel(1);
    if let Some(queue) = QUEUE.get()
        && queue.try_send(Message::Flush(done)).is_ok()
    {
        // Nothing is ever sent: it is done when the other end is gone.
        let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// How many lines of requests were dropped.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Makes writers to standard error.
pub(super) struct Lines;

/// A writer of one line.
pub(super) enum Line {
    Direct(Stderr),
    Queued(Vec<u8>),
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::Direct(io::stderr())
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        if metadata.target() == REQUESTS { Line::Queued(Vec::new()) } else { self.make_writer() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Direct(stderr) => stderr.write(bytes),
            Line::Queued(line) => line.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Line::Queued(line) = self else { return };
        let message = Message::Line(std::mem::take(line));
        if QUEUE.get().is_none_or(|queue| queue.try_send(message).is_err()) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}
