use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidewire_sim::{Answer, Attempt, Moment, Publication};

use crate::clock::pause;
use crate::{Clock, Http, Numbers};

/// How soon a publisher knocks again.
const KNOCK: Duration = Duration::from_millis(10);

/// Publishers of [`Numbers`], each with one request in flight on a connection that it keeps.
/// What is not answered they send again under the same publisher's id, also while the hub is
/// down, until it is.
#[derive(Debug)]
pub struct Publishers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Publication>>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    clock: Clock,
    numbers: Numbers,
    next: AtomicUsize,
    acknowledged: AtomicUsize,
    in_flight: AtomicUsize,
    /// How many may be sent so far.
    allowed: Mutex<usize>,
    allowed_changed: Condvar,
}

/// What came of one request.
enum Sent {
    Answered(Answer),
    /// No answer; when its last byte had been written, if it was.
    Lost(Option<Moment>),
}

impl Publishers {
    /// Starts so many publishers. None of them sends before [`allow`](Publishers::allow).
    #[must_use]
    pub fn start(address: SocketAddr, clock: Clock, numbers: Numbers, publishers: usize) -> Publishers {
        let shared = Arc::new(Shared {
            address,
            clock,
            numbers,
            next: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            allowed: Mutex::new(0),
            allowed_changed: Condvar::new(),
        });
        let threads = (0..publishers)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.publish_all())
            })
            .collect();
        Publishers { shared, threads }
    }

    /// The numbers below this may be sent.
    ///
    /// # Panics
    /// If a publisher panicked.
    pub fn allow(&self, below: usize) {
        *self.shared.allowed.lock().expect("no publisher panics with it in hand") = below;
        self.shared.allowed_changed.notify_all();
    }

    /// How many have been acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// How many requests are written and not yet answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Waits for the last answer; what was sent and when.
    ///
    /// # Panics
    /// If the hub refused one for good.
    #[must_use]
    pub fn finish(self) -> Vec<Publication> {
        self.allow(self.shared.numbers.count);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("every event was taken")).collect()
    }
}

impl Shared {
    fn publish_all(&self) -> Vec<Publication> {
        let mut sent = Vec::new();
        let mut connection = None;
        while let Some(n) = self.next() {
            let body = self.numbers.body(n);
            let mut publication = self.numbers.publication(n);
            loop {
                let began = self.clock.now();
                // A port that refuses has been sent nothing: that is no attempt.
                let Ok(http) = connection.take().map_or_else(|| Http::connect(self.address), Ok) else {
                    pause(KNOCK);
                    continue;
                };
                let mut http = http;
                match self.send(&mut http, &body) {
                    Sent::Answered(answer) => {
                        connection = Some(http);
                        publication.attempts.push(Attempt::answered(began, self.clock.now(), answer));
                        if let Answer::Acknowledged(_) = answer {
                            break;
                        }
                        pause(KNOCK);
                    }
                    Sent::Lost(written) => {
                        publication.attempts.push(Attempt::lost(began, written, self.clock.now()));
                    }
                }
            }
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            sent.push(publication);
        }
        sent
    }

    fn next(&self) -> Option<usize> {
        let n = self.next.fetch_add(1, Ordering::SeqCst);
        if n >= self.numbers.count {
            return None;
        }
        let mut allowed = self.allowed.lock().expect("no publisher panics with it in hand");
        while n >= *allowed {
            allowed = self.allowed_changed.wait(allowed).expect("no publisher panics with it in hand");
        }
        Some(n)
    }

    fn send(&self, http: &mut Http, body: &[u8]) -> Sent {
        if http.send("POST", "/api/v1/events", &[("content-type", "application/json")], body).is_err() {
            return Sent::Lost(None);
        }
        let written = self.clock.now();
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer(http);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        answer.map_or(Sent::Lost(Some(written)), Sent::Answered)
    }

    fn answer(&self, http: &mut Http) -> io::Result<Answer> {
        let response = http.receive()?;
        match response.status {
            200 => {
                let json = response.json();
                let id = json["id"].as_str().unwrap_or_default();
                Ok(Answer::Acknowledged(id.parse().unwrap_or_else(|_| panic!("the hub answered {json}"))))
            }
            503 => Ok(Answer::Refused),
            status => panic!("the hub answered {status} {}", response.text()),
        }
    }
}
