//! How long a connection may stand between two requests, how long the next one's head may take, and how many there may
//! be.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// What is known of a connection's requests beside what hyper knows.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Something has come of the head that is waited for.
    has_begun: AtomicBool,
    /// Something was written, and may not be with the system yet.
    is_unflushed: AtomicBool,
    requests: AtomicUsize,
}

impl Pace {
    /// Something was read.
    pub(super) fn note_read(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Something is written.
    pub(super) fn note_write(&self) {
        self.is_unflushed.store(true, Ordering::Relaxed);
    }

    /// All that was written is with the system.
    pub(super) fn note_flush(&self) {
        self.is_unflushed.store(false, Ordering::Relaxed);
    }

    /// Whether all that was written is with the system, so that something else may follow it.
    pub(super) fn is_flushed(&self) -> bool {
        !self.is_unflushed.load(Ordering::Relaxed)
    }

    /// The number of the request that has come, from 1.
    pub(super) fn count_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether something has come of the head that is waited for.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }
}

/// hyper's timer for heads: hyper asks it for a sleep whenever it begins to wait for one, looks at that sleep after each
/// read that brought no whole head, and ends the connection when it is over. So the sleep is told what was read: it is
/// as long as a connection may be idle until something comes, and from then on as long as a head may take.
#[derive(Debug)]
pub(super) struct HeadTimer {
    pub(super) pace: Arc<Pace>,
    pub(super) head_timeout: Duration,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.wait(TokioTimer::new().sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.wait(TokioTimer::new().sleep_until(deadline))
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl HeadTimer {
    fn wait(&self, idle: Pin<Box<dyn Sleep>>) -> Pin<Box<dyn Sleep>> {
        self.pace.has_begun.store(false, Ordering::Relaxed);
        let (pace, head_timeout) = (Arc::clone(&self.pace), self.head_timeout);
        Box::pin(HeadSleep { pace, head_timeout, sleep: idle, is_of_a_head: false })
    }
}

struct HeadSleep {
    pace: Arc<Pace>,
    head_timeout: Duration,
    sleep: Pin<Box<dyn Sleep>>,
    is_of_a_head: bool,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_of_a_head && self.pace.has_begun() {
            self.is_of_a_head = true;
            self.sleep = TokioTimer::new().sleep(self.head_timeout);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl Sleep for HeadSleep {}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const HEAD: Duration = Duration::from_secs(10);

    async fn measured(sleep: Pin<Box<dyn Sleep>>) -> Duration {
        let begun = tokio::time::Instant::now();
        sleep.await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_another_time_than_a_head_that_has_begun() {
        let pace = Arc::new(Pace::default());
        let timer = HeadTimer { pace: Arc::clone(&pace), head_timeout: HEAD };
        assert_eq!(measured(timer.sleep(IDLE)).await, IDLE);
        let mut sleep = timer.sleep(IDLE);
        let begins = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            pace.note_read();
        };
        tokio::select! {
            () = begins => {}
            () = &mut sleep => panic!("it is over before anything has come"),
        }
        assert_eq!(measured(sleep).await, HEAD, "from when it began");
        assert!(pace.has_begun());
        // What was read for one head is not of the next.
        assert_eq!(measured(timer.sleep(IDLE)).await, IDLE);
    }
}
