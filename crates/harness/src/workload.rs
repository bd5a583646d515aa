mod requests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tidewire_sim::{Answer, Attempt, Moment, Place, Publication};

use self::requests::{Request, Requests};
use crate::clock::pause;
use crate::{Clock, Http, Response, Seed};

/// How soon a publisher knocks again, or sends again what was refused.
const KNOCK: Duration = Duration::from_millis(3);
/// So many answers that should not have been are kept.
const WRONG_MAX: usize = 10;
/// What a problem's type begins with.
const PROBLEM: &str = "urn:tidewire:error:";

/// Publishers that send what real ones send, at random: single events and arrays, with publisher's ids and without,
/// repetitions of what was acknowledged, ids with other content, arrays that are not valid. What has an id and is not
/// answered, or is refused because the hub cannot take it now, is sent again until it is acknowledged, also while the
/// hub is down; what has none is sent once.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Publication>>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    clock: Clock,
    stop: AtomicBool,
    arrays: AtomicUsize,
    told: Mutex<Told>,
}

/// What the hub told all of them together.
#[derive(Debug, Default)]
struct Told {
    acknowledged: usize,
    acknowledged_to: Place,
    /// How often it refused, by the name of the problem.
    refused: BTreeMap<String, usize>,
    /// How many requests the hub could not take when it got them, by the status.
    turned_away: BTreeMap<u16, usize>,
    /// How many requests got no answer.
    lost: usize,
    /// Answers that should not have been, the first of them.
    wrong: Vec<String>,
}

/// What came of one request.
enum Sent {
    Answered(Response),
    /// No answer; when its last byte had been written, if it was.
    Lost(Option<Moment>),
}

impl Workload {
    /// Starts so many publishers, each with one request at a time on a connection that it keeps.
    #[must_use]
    pub fn start(address: SocketAddr, clock: Clock, seed: &Seed, publishers: usize) -> Workload {
        let shared = Arc::new(Shared {
            address,
            clock,
            stop: AtomicBool::new(false),
            arrays: AtomicUsize::new(0),
            told: Mutex::default(),
        });
        let threads = (0..publishers)
            .map(|publisher| {
                let requests = Requests::new(seed.fork(), publisher);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.publish_all(requests))
            })
            .collect();
        Workload { shared, threads }
    }

    /// How many requests were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.shared.told(|told| told.acknowledged)
    }

    /// The last place that was acknowledged.
    #[must_use]
    pub fn acknowledged_to(&self) -> Place {
        self.shared.told(|told| told.acknowledged_to)
    }

    /// How many requests were refused with the problem of this name.
    #[must_use]
    pub fn refused(&self, problem: &str) -> usize {
        self.shared.told(|told| told.refused.get(problem).copied().unwrap_or_default())
    }

    /// How many requests were refused because the hub could not take them then: with 503 or 507.
    #[must_use]
    pub fn turned_away(&self) -> usize {
        self.shared.told(|told| told.turned_away.values().sum())
    }

    /// How many of these with this status.
    #[must_use]
    pub fn turned_away_with(&self, status: u16) -> usize {
        self.shared.told(|told| told.turned_away.get(&status).copied().unwrap_or_default())
    }

    /// How many requests got no answer.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.shared.told(|told| told.lost)
    }

    /// Ends when everything with an id is acknowledged; what was sent and when.
    ///
    /// # Panics
    /// If the hub answered what it should not have.
    #[must_use]
    pub fn finish(self) -> Vec<Publication> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let told = self.shared.told(|told| format!("{} acknowledged, refused {:?}", told.acknowledged, told.refused));
        println!("requests: {told}");
        let sent = self.threads.into_iter().flat_map(|thread| thread.join().expect("the hub's answers were answers"));
        let sent = sent.collect();
        self.shared.told(|told| assert!(told.wrong.is_empty(), "{:#?}", told.wrong));
        sent
    }
}

impl Shared {
    fn told<T>(&self, with: impl FnOnce(&mut Told) -> T) -> T {
        with(&mut self.told.lock().expect("nobody panics with it in hand"))
    }

    fn publish_all(&self, mut requests: Requests) -> Vec<Publication> {
        let mut sent = Vec::new();
        let mut connection = None;
        while !self.stop.load(Ordering::SeqCst) {
            let request = requests.next();
            let mut publications = request.publications(self.arrays.fetch_add(1, Ordering::SeqCst));
            if self.publish(&mut connection, &request, &mut publications) {
                requests.acknowledged(&request);
            }
            sent.append(&mut publications);
        }
        sent
    }

    /// Sends a request, as often as it is to be sent, and notes each attempt. Whether it was acknowledged.
    fn publish(&self, connection: &mut Option<Http>, request: &Request, publications: &mut [Publication]) -> bool {
        let body = request.body();
        loop {
            // A port that refuses has been sent nothing: that is no attempt.
            let Ok(mut http) = connection.take().map_or_else(|| Http::connect(self.address), Ok) else {
                pause(KNOCK);
                continue;
            };
            let began = self.clock.now();
            match self.send(&mut http, &body) {
                Sent::Answered(response) if response.status == 200 => {
                    *connection = Some(http);
                    if let Some(problem) = request.refused {
                        self.complain(format!("{request:?} was taken, and not refused with {problem}"));
                    }
                    self.note(publications, &places(&response, request.is_array), began);
                    return true;
                }
                Sent::Answered(response) => {
                    *connection = Some(http).filter(|_| response.header("connection") != Some("close"));
                    let ended = self.clock.now();
                    for publication in &mut *publications {
                        publication.attempts.push(Attempt::answered(began, ended, Answer::Refused));
                    }
                    let problem = problem(&response);
                    let may_come_later = matches!(response.status, 503 | 507);
                    let is_wrong = !may_come_later && request.refused != Some(problem.as_str());
                    if is_wrong {
                        self.complain(format!("{request:?} was answered {}", response.text()));
                    }
                    self.told(|told| {
                        if may_come_later {
                            *told.turned_away.entry(response.status).or_default() += 1;
                        }
                        *told.refused.entry(problem).or_default() += 1;
                    });
                    if is_wrong {
                        return false;
                    }
                }
                Sent::Lost(written) => {
                    self.told(|told| told.lost += 1);
                    let attempt = Attempt::lost(began, written, self.clock.now());
                    publications.iter_mut().for_each(|publication| publication.attempts.push(attempt));
                }
            }
            if !request.is_repeated {
                return false;
            }
            pause(KNOCK);
        }
    }

    /// Kept for the end: who waits for this publisher meanwhile is not to wait for ever.
    fn complain(&self, wrong: String) {
        self.told(|told| {
            if told.wrong.len() < WRONG_MAX {
                told.wrong.push(wrong);
            }
        });
    }

    fn note(&self, publications: &mut [Publication], places: &[Place], began: Moment) {
        let ended = self.clock.now();
        assert_eq!(places.len(), publications.len(), "one id for each event");
        assert!(places.is_sorted_by(|a, b| a < b), "the ids of an array increase: {places:?}");
        for (publication, place) in publications.iter_mut().zip(places) {
            publication.attempts.push(Attempt::answered(began, ended, Answer::Acknowledged(*place)));
        }
        self.told(|told| {
            told.acknowledged += 1;
            told.acknowledged_to = told.acknowledged_to.max(places.last().copied().unwrap_or_default());
        });
    }

    fn send(&self, http: &mut Http, body: &[u8]) -> Sent {
        if http.send("POST", "/api/v1/events", &[("content-type", "application/json")], body).is_err() {
            return Sent::Lost(None);
        }
        let written = self.clock.now();
        let received: io::Result<Response> = http.receive();
        received.map_or(Sent::Lost(Some(written)), Sent::Answered)
    }
}

fn places(response: &Response, is_array: bool) -> Vec<Place> {
    let json = response.json();
    let ids = if is_array { json["ids"].as_array().cloned().unwrap_or_default() } else { vec![json["id"].clone()] };
    ids.iter()
        .map(|id| id.as_str().and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("the hub answered {json}")))
        .collect()
}

/// The name of the problem that an answer is, which must be a whole document.
fn problem(response: &Response) -> String {
    let text = response.text();
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{text}");
    let document = response.json();
    assert_eq!(document["status"], response.status, "{text}");
    assert!(document["title"].is_string() && document["detail"].is_string(), "{text}");
    let name = document["type"].as_str().and_then(|problem_type| problem_type.strip_prefix(PROBLEM));
    name.unwrap_or_else(|| panic!("{text} has no type of ours")).to_owned()
}
