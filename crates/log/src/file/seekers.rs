use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::disk::Disk;
use super::lookup::Lookup;
use super::queue::{Queue, Shared, Ticket};
use crate::AppendError;
use crate::sequencer::Array;

/// How many threads look for what was published before, where that may wait for the disk. Two, so that one
/// segment without an index does not keep all others waiting.
const SEEKER_THREADS: usize = 2;

/// Threads that look up arrays and then put them where they are committed. What waits here is counted with all that
/// waits to be committed (`append_queue_bytes`).
pub(super) struct Seekers {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is to be looked up.
#[derive(Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Default)]
struct Waiting {
    arrays: VecDeque<(Array, Ticket)>,
    is_closed: bool,
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seekers {
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start<D: Disk>(shared: &Arc<Shared>, lookup: &Arc<Lookup<D>>) -> io::Result<Seekers> {
        let desk = Arc::<Desk>::default();
        let seekers = Seekers { shared: Arc::clone(shared), desk, threads: Mutex::default() };
        for _ in 0..SEEKER_THREADS {
            let (shared, desk, lookup) = (Arc::clone(shared), Arc::clone(&seekers.desk), Arc::clone(lookup));
            let seek = move || work(&shared, &desk, &lookup);
            seekers.threads().push(thread::Builder::new().name("log-seeker".to_owned()).spawn(seek)?);
        }
        Ok(seekers)
    }

    /// Looks an array up and lets it be committed, or answers it. Its bytes are counted already.
    pub(super) fn submit(&self, array: Array, ticket: Ticket) {
        let mut waiting = self.desk.waiting();
        if waiting.is_closed {
            drop(waiting);
            return hand_on(&self.shared, array, ticket, Err(AppendError::Closed));
        }
        waiting.arrays.push_back((array, ticket));
        drop(waiting);
        self.desk.news.notify_one();
    }

    /// Takes no more. Returns once all of what came is handed on.
    pub(super) fn close(&self) {
        self.desk.waiting().is_closed = true;
        self.desk.news.notify_all();
        let mut threads = self.threads();
        // What a thread itself drops last may be the log.
        let is_other = |thread: &mut JoinHandle<()>| thread.thread().id() != thread::current().id();
        for thread in threads.extract_if(.., is_other) {
            // A panic there has been reported.
            drop(thread.join());
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seekers {
    fn drop(&mut self) {
        self.close();
    }
}

/// One thread's work.
fn work<D: Disk>(shared: &Shared, desk: &Desk, lookup: &Lookup<D>) {
    loop {
        let has_time = |waiting: &mut Waiting| waiting.arrays.is_empty() && !waiting.is_closed;
        let waited = desk.news.wait_while(desk.waiting(), has_time);
        let next = waited.unwrap_or_else(PoisonError::into_inner).arrays.pop_front();
        let Some((mut array, ticket)) = next else { return };
        // A panic is a bug of ours, and costs the one whose array it was: without an answer, its bytes would be
        // counted for ever, and the thread would be missing to all others.
        let looked_up = catch_unwind(AssertUnwindSafe(|| lookup.look_up(&mut array)));
        let looked_up =
            looked_up.unwrap_or_else(|_| Err(AppendError::Unread { reason: "looking for it panicked".to_owned() }));
        hand_on(shared, array, ticket, looked_up);
    }
}

/// Puts an array whose bytes are counted where it is committed, unless that is not to be; then answers it.
fn hand_on(shared: &Shared, array: Array, ticket: Ticket, looked_up: Result<(), AppendError>) {
    let mut queue = shared.queue();
    match looked_up.err().or_else(|| refusal(&queue)) {
        Some(error) => {
            queue.waiting_bytes -= ticket.bytes;
            drop(queue);
            (ticket.done)(Err(error));
        }
        None => {
            queue.push(array, ticket);
            shared.call(queue);
        }
    }
}

/// Why nothing is taken any more, if nothing is.
pub(super) fn refusal(queue: &Queue) -> Option<AppendError> {
    let failed = queue.failure.as_ref().map(|reason| AppendError::Failed { reason: reason.clone() });
    failed.or(queue.is_closed.then_some(AppendError::Closed))
}
