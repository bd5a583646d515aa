use serde::{Deserialize, Serialize};

/// Events of the rare topic, whatever the number of all.
pub(crate) const RARE_EVENTS: u64 = 10;

/// Digits with which an event's data begins: its number.
pub(crate) const NUMBER_BYTES: usize = 12;

/// Which events a large log holds: numbered from 0, each on one topic. Nothing of it is kept in memory, and whoever reads
/// knows which event is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// All of them; at least [`Layout::EVENTS_MIN`].
    pub(crate) events: u64,
    /// Topics that take turns.
    pub(crate) topics: u64,
    /// The data of each, in bytes; at least [`NUMBER_BYTES`].
    pub(crate) payload_bytes: usize,
}

/// A topic of a large log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// One of those that take turns.
    Common(u64),
    /// It has [`RARE_EVENTS`] in the whole log, spread evenly.
    Rare,
}

impl Topic {
    pub(crate) fn name(self) -> String {
        match self {
            Topic::Common(number) => format!("topic-{number}"),
            Topic::Rare => "rare".to_owned(),
        }
    }
}

impl Layout {
    pub(crate) const EVENTS_MIN: u64 = 1_000;

    /// The topic of an event.
    pub(crate) fn topic(&self, event: u64) -> Topic {
        let is_rare = self.rare().any(|rare| rare == event);
        if is_rare { Topic::Rare } else { Topic::Common(event % self.topics) }
    }

    /// The first event on a topic after an event, or from the beginning.
    pub(crate) fn next(&self, topic: Topic, after: Option<u64>) -> Option<u64> {
        let from = after.map_or(0, |event| event + 1);
        match topic {
            Topic::Rare => self.rare().find(|&rare| rare >= from),
            // It is missing where its turn falls to the rare one, but not so often.
            Topic::Common(_) => (from..self.events).find(|&event| self.topic(event) == topic),
        }
    }

    /// The data of an event.
    pub(crate) fn data(&self, event: u64) -> String {
        format!("{event:0NUMBER_BYTES$}{:x<width$}", "", width = self.payload_bytes - NUMBER_BYTES)
    }

    /// Events from `from` on as the body of one request, at most `count` of them.
    pub(crate) fn body(&self, from: u64, count: u64) -> Vec<u8> {
        let mut body = String::from("[");
        for event in from..(from + count).min(self.events) {
            let separator = if event == from { "" } else { "," };
            let (topic, data) = (self.topic(event).name(), self.data(event));
            body.push_str(&format!("{separator}{{\"topic\":\"{topic}\",\"data\":\"{data}\"}}"));
        }
        body.push(']');
        body.into_bytes()
    }

    fn rare(&self) -> impl Iterator<Item = u64> {
        let events = self.events;
        (0..RARE_EVENTS).map(move |rare| (2 * rare + 1) * events / (2 * RARE_EVENTS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { events: 1_000, topics: 7, payload_bytes: 16 };

    #[test]
    fn the_rare_topic_has_ten_events() {
        let rare: Vec<u64> = (0..1_000).filter(|&event| LAYOUT.topic(event) == Topic::Rare).collect();
        assert_eq!(rare, [50, 150, 250, 350, 450, 550, 650, 750, 850, 950]);
    }

    #[test]
    fn the_next_event_is_the_first_that_matches() {
        for topic in [Topic::Rare, Topic::Common(0), Topic::Common(6)] {
            for after in std::iter::once(None).chain((0..1_000).map(Some)) {
                let from = after.map_or(0, |event| event + 1);
                let expected = (from..1_000).find(|&event| LAYOUT.topic(event).name() == topic.name());
                assert_eq!(LAYOUT.next(topic, after), expected, "{topic:?} {after:?}");
            }
        }
    }

    #[test]
    fn a_body_is_json_of_these_events() {
        let body: serde_json::Value = serde_json::from_slice(&LAYOUT.body(999, 5)).expect("it is JSON");
        assert_eq!(body, serde_json::json!([{"topic": "topic-5", "data": "000000000999xxxx"}]));
        let body: serde_json::Value = serde_json::from_slice(&LAYOUT.body(50, 2)).expect("it is JSON");
        assert_eq!(body[0]["topic"], "rare");
        assert_eq!(body[1]["data"], "000000000051xxxx");
    }
}
