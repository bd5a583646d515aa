use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where a log's threads read the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock: milliseconds since the Unix epoch. It may stand, jump and go back.
    fn now_ms(&self) -> u64;

    /// The time since some moment, unmoved by what is done to the wall clock. A clock for tests can
    /// leave it at the wall clock's time.
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

/// The clocks of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the shell hands this clock in")]
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the shell hands this clock in")]
    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
