use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::disk::Disk;
use super::segments::{NewSegment, fill_ahead};

/// Makes the next segment's file before it is needed, on a thread of its own: filling it with
/// zeros takes as long as many commits.
pub(super) struct Ahead<D: Disk> {
    shared: Arc<Shared<D::File>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<F> {
    state: Mutex<State<F>>,
    changed: Condvar,
}

enum State<F> {
    Idle,
    /// So many bytes are to be filled, or are being filled.
    Wanted(u64),
    Filled(NewSegment<F>),
    Ended,
}

impl<D: Disk> Ahead<D> {
    pub(super) fn start(disk: Arc<D>) -> std::io::Result<Ahead<D>> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log-ahead".to_owned()).spawn(move || run(&*disk, &own))?;
        Ok(Ahead { shared, thread: Some(thread) })
    }

    /// Begins to make a file of so many bytes, unless one is being made.
    pub(super) fn begin(&self, bytes: u64) {
        let mut state = self.shared.state();
        if matches!(*state, State::Idle) {
            *state = State::Wanted(bytes);
            self.shared.changed.notify_all();
        }
    }

    /// The file that was begun, once it is whole; none if none was begun, or it could not be made.
    pub(super) fn wait(&self) -> Option<NewSegment<D::File>> {
        let state = self.shared.state();
        let is_filling = |state: &mut State<D::File>| matches!(state, State::Wanted(_));
        let mut state = self.shared.changed.wait_while(state, is_filling).unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Idle) {
            State::Filled(file) => Some(file),
            State::Idle | State::Wanted(_) => None,
            State::Ended => {
                *state = State::Ended;
                None
            }
        }
    }
}

impl<D: Disk> Drop for Ahead<D> {
    fn drop(&mut self) {
        *self.shared.state() = State::Ended;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; the next segment is made without it.
            drop(thread.join());
        }
    }
}

impl<F> Shared<F> {
    fn state(&self) -> MutexGuard<'_, State<F>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run<D: Disk>(disk: &D, shared: &Shared<D::File>) {
    let _ending = Ending(shared);
    loop {
        let state = shared.state();
        let has_time = |state: &mut State<D::File>| matches!(state, State::Idle | State::Filled(_));
        let state = shared.changed.wait_while(state, has_time).unwrap_or_else(PoisonError::into_inner);
        let State::Wanted(bytes) = *state else { return };
        drop(state);
        // Where there is no room, whoever needs the segment tries again and tells.
        let filled = fill_ahead(disk, bytes).map_or(State::Idle, State::Filled);
        let mut state = shared.state();
        if matches!(*state, State::Ended) {
            return;
        }
        *state = filled;
        shared.changed.notify_all();
    }
}

/// Nobody is left waiting for a thread that has panicked.
struct Ending<'a, F>(&'a Shared<F>);

impl<F> Drop for Ending<'_, F> {
    fn drop(&mut self) {
        *self.0.state() = State::Ended;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DiskFile, SimDisk};
    use super::*;

    #[test]
    fn a_file_is_made_once_it_was_asked_for() {
        let disk = Arc::new(SimDisk::default());
        let ahead = Ahead::start(Arc::clone(&disk)).expect("started");
        assert!(ahead.wait().is_none(), "none was begun");
        for _ in 0..3 {
            ahead.begin(5000);
            ahead.begin(6000);
            assert_eq!(ahead.wait().expect("made").file.length().expect("read"), 5000);
            assert!(ahead.wait().is_none(), "it was taken");
        }
        disk.set_space(Some(10));
        ahead.begin(5000);
        assert!(ahead.wait().is_none(), "the disk is full");
        disk.set_space(None);
        ahead.begin(5000);
        assert!(ahead.wait().is_some());
    }
}
