use std::collections::VecDeque;

use serde_json::{Value, json};
use tidewire_sim::Publication;

use crate::Seed;

/// So many topics there are.
const TOPICS: usize = 4;
/// The longest array.
const ARRAY_EVENTS_MAX: usize = 20;
/// What fills an event of an array, at most, and every tenth of the others.
const FILLER_BYTES_MAX: usize = 2_000;
const LARGE_BYTES_MAX: usize = 12_000;
/// So many of the last acknowledged events are sent again at times.
const KNOWN_MAX: usize = 50;

/// The requests of one publisher: the same for the same seed, as long as the same are acknowledged.
#[derive(Debug)]
pub(super) struct Requests {
    seed: Seed,
    publisher: usize,
    sent: usize,
    known: VecDeque<Event>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Request {
    events: Vec<Event>,
    pub(super) is_array: bool,
    /// Whether it is sent again until it is answered. It has publisher's ids, then.
    pub(super) is_repeated: bool,
    /// The name of the problem it is to be refused with, if it is.
    pub(super) refused: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Event {
    topic: String,
    id: Option<String>,
    content: String,
}

impl Requests {
    pub(super) fn new(seed: Seed, publisher: usize) -> Requests {
        Requests { seed, publisher, sent: 0, known: VecDeque::new() }
    }

    /// The next one: an event or an array, with publisher's ids or without; at times an event that was acknowledged
    /// before, alike or with other content; and at times an array of which one event is not valid.
    pub(super) fn next(&mut self) -> Request {
        self.sent += 1;
        let mut request = Request { events: Vec::new(), is_array: false, is_repeated: false, refused: None };
        match self.seed.below(12) {
            0..=2 => request.events.push(self.event(0, false)),
            3..=5 => {
                request.events.push(self.event(0, true));
                request.is_repeated = true;
            }
            kind @ 6..=9 => {
                request.is_repeated = kind >= 8;
                request.events = self.array(request.is_repeated);
                request.is_array = true;
            }
            10 if !self.known.is_empty() => {
                let mut event = self.known[self.seed.below(self.known.len())].clone();
                request.is_repeated = self.seed.below(2) == 0;
                if !request.is_repeated {
                    event.content = format!("{} of {}-{}", event.content, self.publisher, self.sent);
                    request.refused = Some("id-conflict");
                }
                request.events.push(event);
            }
            _ => {
                request.events = self.array(false);
                let bad = self.seed.below(request.events.len());
                request.events[bad].topic.clear();
                request.is_array = true;
                request.refused = Some("topic");
            }
        }
        request
    }

    /// Notes that a request was acknowledged: what has an id may come again.
    pub(super) fn acknowledged(&mut self, request: &Request) {
        self.known.extend(request.events.iter().filter(|event| event.id.is_some()).cloned());
        while self.known.len() > KNOWN_MAX {
            self.known.pop_front();
        }
    }

    fn array(&self, with_ids: bool) -> Vec<Event> {
        (0..2 + self.seed.below(ARRAY_EVENTS_MAX - 1)).map(|index| self.event(index, with_ids)).collect()
    }

    /// An event whose content is no other's.
    fn event(&self, index: usize, with_id: bool) -> Event {
        let name = format!("{}-{}-{index}", self.publisher, self.sent);
        let is_large = index == 0 && self.seed.below(10) == 0;
        let filler = self.seed.below(if is_large { LARGE_BYTES_MAX } else { FILLER_BYTES_MAX });
        Event {
            topic: format!("work/{}", self.seed.below(TOPICS)),
            id: with_id.then(|| format!("w-{name}")),
            content: format!("{name}\n{}", "x".repeat(filler)),
        }
    }
}

impl Request {
    pub(super) fn body(&self) -> Vec<u8> {
        let events = self.events.iter().map(|Event { topic, id, content }| {
            let mut event = json!({"topic": topic, "data": content});
            if let Some(id) = id {
                event["id"] = json!(id);
            }
            event
        });
        let mut events: Vec<Value> = events.collect();
        let body = if self.is_array { json!(events) } else { events.remove(0) };
        body.to_string().into_bytes()
    }

    /// Its events as the checker has them; `array` is a number that no other array has.
    pub(super) fn publications(&self, array: usize) -> Vec<Publication> {
        let publication = |event: &Event| {
            let mut publication = Publication::new([event.topic.as_str()], &event.content);
            publication.publisher_id.clone_from(&event.id);
            publication.array = self.is_array.then_some(array);
            publication
        };
        self.events.iter().map(publication).collect()
    }
}
