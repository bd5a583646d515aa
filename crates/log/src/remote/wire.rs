use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::server::{Delivery, Server};
use crate::EventLog;
use crate::testing::Random;

/// How many deliveries a connection repeats, at most, after it was cut.
const REPEATED_MAX: usize = 4;
/// One in so many steps cuts the connection on which deliveries come.
const CUT_EVERY: usize = 8;
/// For so long, at most, the wire does nothing before a step: turns of the other threads.
const DELAY_TURNS_MAX: usize = 12;

type Request = Box<dyn FnOnce(&dyn EventLog, Arc<Wire>) + Send>;
type Reply = Box<dyn FnOnce() + Send>;

/// What lies between a node and the log: requests go in order, replies to different requests come in any order,
/// deliveries come in order on a connection of their own. When that is cut, the next one begins with some that had
/// come before.
pub(super) struct Wire {
    pub(super) server: Arc<Server>,
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Default)]
struct Inner {
    requests: VecDeque<Request>,
    replies: Vec<Reply>,
    /// The number of the next delivery.
    next: usize,
    is_over: bool,
}

enum Step {
    Request(Request),
    Reply(Reply),
    Deliver(usize, Arc<Delivery>),
}

impl Wire {
    pub(super) fn new(server: Arc<Server>) -> Arc<Wire> {
        let wire = Arc::new(Wire { server, inner: Mutex::default(), news: Condvar::new() });
        wire.server.watch(&wire);
        wire
    }

    /// Starts to carry; deliveries go to `deliver` with their numbers. What comes when follows from the seed and
    /// from what the threads do.
    pub(super) fn start(
        self: &Arc<Wire>,
        seed: u64,
        deliver: impl Fn(usize, Arc<Delivery>) + Send + 'static,
    ) -> JoinHandle<()> {
        let wire = Arc::clone(self);
        let carry = move || {
            let mut random = Random(seed);
            while let Some(step) = wire.step(&mut random) {
                match step {
                    Step::Request(request) => request(&wire.server.log, Arc::clone(&wire)),
                    Step::Reply(reply) => reply(),
                    Step::Deliver(number, delivery) => deliver(number, delivery),
                }
                (0..random.below(DELAY_TURNS_MAX)).for_each(|_| thread::yield_now());
            }
        };
        thread::Builder::new().name("wire".to_owned()).spawn(carry).expect("a thread")
    }

    pub(super) fn request(&self, request: impl FnOnce(&dyn EventLog, Arc<Wire>) + Send + 'static) {
        self.change(|inner| inner.requests.push_back(Box::new(request)));
    }

    pub(super) fn reply(&self, reply: impl FnOnce() + Send + 'static) {
        self.change(|inner| inner.replies.push(Box::new(reply)));
    }

    /// Looks for something to deliver.
    pub(super) fn call(&self) {
        self.change(|_| ());
    }

    pub(super) fn end(&self) {
        self.change(|inner| inner.is_over = true);
        self.server.unwatch(self);
    }

    /// Waits until there is something to carry, and chooses.
    fn step(&self, random: &mut Random) -> Option<Step> {
        let mut inner = self.inner();
        loop {
            if inner.is_over {
                return None;
            }
            let delivery = self.server.delivery(inner.next);
            let (requests, replies) = (inner.requests.len(), inner.replies.len());
            if requests + replies == 0 && delivery.is_none() {
                inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if random.below(CUT_EVERY) == 0 {
                inner.next -= random.below(REPEATED_MAX + 1).min(inner.next);
                continue;
            }
            match (random.below(3), delivery) {
                (0, _) if requests > 0 => return inner.requests.pop_front().map(Step::Request),
                (1, _) if replies > 0 => {
                    let chosen = random.below(replies);
                    return Some(Step::Reply(inner.replies.swap_remove(chosen)));
                }
                (2, Some(delivery)) => {
                    inner.next += 1;
                    return Some(Step::Deliver(inner.next - 1, delivery));
                }
                _ => {}
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner());
        self.news.notify_all();
    }
}
