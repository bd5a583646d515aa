use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A thread that does something again and again, and ends with its owner.
pub(crate) struct Background {
    nudge: Nudge,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Calls such a thread before its time.
#[derive(Clone, Default)]
pub(crate) struct Nudge(Arc<(Mutex<Called>, Condvar)>);

#[derive(Default)]
struct Called {
    is_early: bool,
    is_over: bool,
}

impl Background {
    /// Starts a thread that takes a turn, waits as long as the turn said, and so on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(
        name: &str,
        nudge: Nudge,
        mut turn: impl FnMut() -> Duration + Send + 'static,
    ) -> io::Result<Background> {
        let own = nudge.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                let pause = turn();
                if own.wait(pause) {
                    return;
                }
            }
        })?;
        Ok(Background { nudge, thread: Mutex::new(Some(thread)) })
    }

    /// Lets the next turn begin at once.
    #[cfg(test)]
    pub(crate) fn call(&self) {
        self.nudge.call();
    }

    /// Ends the thread after the turn that it takes.
    pub(crate) fn stop(&self) {
        self.nudge.change(|called| called.is_over = true);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        if let Some(thread) = thread.take_if(|thread| !is_own(thread)) {
            // A panic there has been reported.
            drop(thread.join());
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Nudge {
    /// Lets the next turn begin at once.
    pub(crate) fn call(&self) {
        self.change(|called| called.is_early = true);
    }

    fn change(&self, change: impl FnOnce(&mut Called)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits for a while or for a call. Whether it is over.
    fn wait(&self, pause: Duration) -> bool {
        let called = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_time = |called: &mut Called| !called.is_early && !called.is_over;
        let waited = self.0.1.wait_timeout_while(called, pause, has_time);
        let mut called = waited.unwrap_or_else(PoisonError::into_inner).0;
        called.is_early = false;
        called.is_over
    }
}
