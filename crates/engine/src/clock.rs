use std::time::Instant;

/// Monotonic time in milliseconds since the shard began.
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the reactor is the shell: here time enters")]
    pub(crate) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).expect("584 million years have not passed")
    }
}
