use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tidewire_sim::{Answer, Attempt, Moment, Publication};

use crate::clock::pause;
use crate::{Clock, Http, Numbers};

/// The topic of what is published between the numbers.
const BETWEEN: &str = "between";
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
    /// How many numbers may be sent so far.
    allowed: AtomicUsize,
}

/// What came of one request.
enum Sent {
    Answered(Answer),
    /// No answer; when its last byte had been written, if it was.
    Lost(Option<Moment>),
}

impl Publishers {
    /// Starts so many publishers. None of them sends a number before [`allow`](Publishers::allow).
    #[must_use]
    pub fn start(address: SocketAddr, clock: Clock, numbers: Numbers, publishers: usize) -> Publishers {
        let shared = Arc::new(Shared {
            address,
            clock,
            numbers,
            next: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            allowed: AtomicUsize::new(0),
        });
        let threads = (0..publishers)
            .map(|publisher| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.publish_all(publisher))
            })
            .collect();
        Publishers { shared, threads }
    }

    /// The numbers below this may be sent.
    pub fn allow(&self, below: usize) {
        self.shared.allowed.store(below, Ordering::SeqCst);
    }

    /// How many numbers have been acknowledged.
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
    /// Publishes numbers until there are none left, and between them, while the next is not allowed,
    /// events that nobody counts: there is always a request in flight.
    fn publish_all(&self, publisher: usize) -> Vec<Publication> {
        let mut sent = Vec::new();
        let mut connection = None;
        loop {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            if n >= self.numbers.count {
                return sent;
            }
            while n >= self.allowed.load(Ordering::SeqCst) {
                let id = format!("between-{publisher}-{}", sent.len());
                let body = json!({"topic": BETWEEN, "id": id, "data": id}).to_string().into_bytes();
                let publication = Publication::new([BETWEEN], &id).publisher_id(&id);
                sent.push(self.publish(&mut connection, &body, publication));
            }
            sent.push(self.publish(&mut connection, &self.numbers.body(n), self.numbers.publication(n)));
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Sends an event until it is acknowledged.
    fn publish(&self, connection: &mut Option<Http>, body: &[u8], mut publication: Publication) -> Publication {
        loop {
            let began = self.clock.now();
            // A port that refuses has been sent nothing: that is no attempt.
            let Ok(mut http) = connection.take().map_or_else(|| Http::connect(self.address), Ok) else {
                pause(KNOCK);
                continue;
            };
            match self.send(&mut http, body) {
                Sent::Answered(answer) => {
                    *connection = Some(http);
                    publication.attempts.push(Attempt::answered(began, self.clock.now(), answer));
                    if let Answer::Acknowledged(_) = answer {
                        return publication;
                    }
                    pause(KNOCK);
                }
                Sent::Lost(written) => publication.attempts.push(Attempt::lost(began, written, self.clock.now())),
            }
        }
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
