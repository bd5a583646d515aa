use std::sync::{Mutex, MutexGuard, PoisonError};

use tidewire_engine::Decide;

/// What a connection's service tells its driver: that the connection has turned into a stream.
///
/// The connection may be taken apart only when everything answered before is with the system.
/// hyper flushes the socket only once its own buffer is empty, so a flush that is done after the
/// stream was asked for says so.
#[derive(Default)]
pub(super) struct WayBack(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Serving,
    Asked(Decide),
    Flushed(Decide),
}

impl WayBack {
    /// A stream was asked for, which this admits.
    pub(super) fn ask(&self, admit: Decide) {
        *self.lock() = State::Asked(admit);
    }

    pub(super) fn flushed(&self) {
        let mut state = self.lock();
        *state = match std::mem::take(&mut *state) {
            State::Asked(admit) => State::Flushed(admit),
            other => other,
        };
    }

    /// What admits the stream asked for, once everything before it is flushed.
    pub(super) fn take(&self) -> Option<Decide> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Flushed(admit) => Some(admit),
            other => {
                *state = other;
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_after_the_question_counts() {
        let way_back = WayBack::default();
        way_back.flushed();
        assert!(way_back.take().is_none());
        way_back.ask(Box::new(|| tidewire_engine::Admission::HandOver));
        assert!(way_back.take().is_none());
        way_back.flushed();
        assert!(way_back.take().is_some());
        assert!(way_back.take().is_none());
    }
}
