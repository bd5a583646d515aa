//! Waking up to the microsecond: a poll's own timeout is in milliseconds.

pub(crate) use system::Alarm;

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    /// Makes a poll return at a time.
    #[derive(Debug)]
    pub(crate) struct Alarm(OwnedFd);

    impl Alarm {
        pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Alarm(timer))
        }

        /// Rings once after this time. What the poll may wait beside it.
        pub(crate) fn set(&self, after: Duration) -> io::Result<Duration> {
            // Nothing at all would mean never.
            let after = after.max(Duration::from_nanos(1));
            let time = |time: Duration| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
            let once = Itimerspec { it_interval: time(Duration::ZERO), it_value: time(after) };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(after + Duration::from_millis(10))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// Elsewhere the poll's timeout has to do.
    #[derive(Debug)]
    pub(crate) struct Alarm;

    impl Alarm {
        pub(crate) fn new(_registry: &Registry, _token: Token) -> io::Result<Alarm> {
            Ok(Alarm)
        }

        pub(crate) fn set(&self, after: Duration) -> io::Result<Duration> {
            Ok(after)
        }
    }
}
