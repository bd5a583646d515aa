use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// How many threads wait for the disk.
const THREADS: usize = 2;

/// How many jobs of one shard may be under way; each holds at most one visit's bytes.
pub(crate) const JOBS_A_SHARD_MAX: usize = 64;

/// What may wait: a read from the log, or an admission that needs one.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Threads for what may wait, shared by the shards.
pub(crate) struct Pool {
    sender: SyncSender<Job>,
}

impl Pool {
    pub(crate) fn start(shards: usize) -> io::Result<Pool> {
        let (sender, receiver) = sync_channel::<Job>(shards * JOBS_A_SHARD_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..THREADS {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new().name(format!("log-reader-{number}")).spawn(move || work(&receiver))?;
        }
        Ok(Pool { sender })
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

/// The jobs of one shard: so many under way, the others wait their turn.
#[derive(Default)]
pub(crate) struct Jobs {
    waiting: VecDeque<Job>,
    running: usize,
}

impl Jobs {
    pub(crate) fn submit(&mut self, job: Job, pool: &Pool) {
        self.waiting.push_back(job);
        self.dispatch(pool);
    }

    /// To be called when the answer of a job has come.
    pub(crate) fn finished(&mut self, pool: &Pool) {
        self.running -= 1;
        self.dispatch(pool);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }

    fn dispatch(&mut self, pool: &Pool) {
        while self.running < JOBS_A_SHARD_MAX {
            let Some(job) = self.waiting.pop_front() else { return };
            if pool.sender.send(job).is_err() {
                return;
            }
            self.running += 1;
        }
    }
}
