use std::fmt;
use std::sync::Arc;

use tidewire_sse::encode;
use tidewire_topic::{Topic, is_control_or_format};

/// The most topics an event may have.
pub const TOPICS_MAX: usize = 100;
/// The most bytes that the topics of an event may have together: subscriptions may have to look at each of them.
pub const TOPICS_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of data an event may have, unless the hub is told otherwise (`event_bytes`).
pub const EVENT_BYTES: usize = 1 << 20;
/// The most bytes of an event type.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// The most bytes of a publisher's id.
pub const PUBLISHER_ID_BYTES_MAX: usize = 128;
/// The most bytes of an event's attributes: keys, values and four bytes each.
pub const ATTRIBUTES_BYTES_MAX: usize = 4096;
/// The attribute that says to which trace the publishing belongs (W3C Trace Context). It says how an event came, and not
/// what it is: who sends an event again under its id may do so in another trace.
pub const TRACEPARENT: &str = "traceparent";
/// The type of an event that was given none.
pub(crate) const DEFAULT_TYPE: &str = "message";

/// The type of an event: at most [`EVENT_TYPE_BYTES_MAX`] bytes, not empty, without control and
/// format characters. Types that begin with `tidewire.` are the hub's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Arc<str>);

/// Why a text is no event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventTypeError {
    /// It is empty.
    #[error("an event type must not be empty")]
    Empty,
    /// It is longer than [`EVENT_TYPE_BYTES_MAX`].
    #[error("an event type of {bytes} bytes is longer than {}", EVENT_TYPE_BYTES_MAX)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It holds a control or format character.
    #[error("an event type must not hold control or format characters")]
    Control,
    /// It begins with `tidewire.`.
    #[error("event types that begin with \"tidewire.\" are the hub's own")]
    Reserved,
}

impl EventType {
    /// Takes `text` as an event type.
    ///
    /// # Errors
    /// When it is empty, too long, holds a character that is not allowed, or is the hub's own.
    pub fn parse(text: &str) -> Result<EventType, EventTypeError> {
        if text.is_empty() {
            return Err(EventTypeError::Empty);
        }
        if text.len() > EVENT_TYPE_BYTES_MAX {
            return Err(EventTypeError::TooLong { bytes: text.len() });
        }
        if text.chars().any(is_control_or_format) {
            return Err(EventTypeError::Control);
        }
        if text.starts_with("tidewire.") {
            return Err(EventTypeError::Reserved);
        }
        Ok(EventType(text.into()))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that a publisher gave its event. With the first topic it is the key of idempotence,
/// and a reader may name it as its last id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(Arc<str>);

/// Why a text is no publisher's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublisherIdError {
    /// It is empty.
    #[error("an id must not be empty")]
    Empty,
    /// It is longer than [`PUBLISHER_ID_BYTES_MAX`].
    #[error("an id of {bytes} bytes is longer than {}", PUBLISHER_ID_BYTES_MAX)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It holds a control or format character.
    #[error("an id must not hold control or format characters")]
    Control,
    /// It begins with `#`, as the hub's ids do.
    #[error("an id that begins with \"#\" is the hub's")]
    LeadingHash,
    /// It is a word or a number that readers use to say where to begin.
    #[error("the id says where to begin: \"earliest\" or -<count>")]
    Reserved,
}

impl PublisherId {
    /// Takes `text` as a publisher's id.
    ///
    /// # Errors
    /// When it is empty, too long, holds a character that is not allowed, or would be taken for
    /// something else where a reader gives its last id.
    pub fn parse(text: &str) -> Result<PublisherId, PublisherIdError> {
        if text.is_empty() {
            return Err(PublisherIdError::Empty);
        }
        if text.len() > PUBLISHER_ID_BYTES_MAX {
            return Err(PublisherIdError::TooLong { bytes: text.len() });
        }
        if text.chars().any(is_control_or_format) {
            return Err(PublisherIdError::Control);
        }
        if text.starts_with('#') {
            return Err(PublisherIdError::LeadingHash);
        }
        let is_count =
            text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        if text == "earliest" || is_count {
            return Err(PublisherIdError::Reserved);
        }
        Ok(PublisherId(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Text. Its newlines (CR, LF, CRLF) become LF.
    Text(String),
    /// A JSON value that is not a string, written compactly.
    Json(String),
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewEventError {
    /// It has no topic.
    #[error("an event needs a topic")]
    NoTopic,
    /// It has more than [`TOPICS_MAX`] topics.
    #[error("an event has {count} topics, and may have {}", TOPICS_MAX)]
    TooManyTopics {
        /// How many it has.
        count: usize,
    },
    /// Its topics are longer than [`TOPICS_BYTES_MAX`] together.
    #[error("the topics take {bytes} bytes together, and may take {}", TOPICS_BYTES_MAX)]
    TopicsTooLong {
        /// How long they are together, in bytes.
        bytes: usize,
    },
    /// Its data is longer than `event_bytes`.
    #[error("the data takes {bytes} bytes, and may take {bytes_max} (event_bytes)")]
    DataTooLong {
        /// How long it is, in bytes.
        bytes: usize,
        /// How long it may be, in bytes.
        bytes_max: usize,
    },
    /// Its attributes are longer than [`ATTRIBUTES_BYTES_MAX`].
    #[error("the attributes take {bytes} bytes, and may take {}", ATTRIBUTES_BYTES_MAX)]
    AttributesTooLong {
        /// How long they are together, in bytes.
        bytes: usize,
    },
}

/// An event to be appended. Its data is escaped and split into lines here, so that the log's
/// own thread has only to put an id before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub(crate) topics: Vec<Topic>,
    pub(crate) publisher_id: Option<PublisherId>,
    pub(crate) event_type: Option<EventType>,
    pub(crate) retry_ms: Option<u64>,
    pub(crate) private: bool,
    pub(crate) json: bool,
    pub(crate) attributes: Vec<(String, String)>,
    /// The `data:` lines.
    pub(crate) data_lines: Vec<u8>,
}

impl NewEvent {
    /// An event on `topics`, of which the first is the one that counts for idempotence;
    /// repeated topics are dropped. `event_bytes` is the most bytes that `data` may take.
    ///
    /// # Errors
    /// When there is no topic, when there are more than [`TOPICS_MAX`] or they are too long together, or when the data is
    /// too long.
    pub fn new(mut topics: Vec<Topic>, data: &Data, event_bytes: usize) -> Result<NewEvent, NewEventError> {
        if topics.is_empty() {
            return Err(NewEventError::NoTopic);
        }
        if topics.len() > TOPICS_MAX {
            return Err(NewEventError::TooManyTopics { count: topics.len() });
        }
        let bytes = topics.iter().map(|topic| topic.as_str().len()).sum();
        if bytes > TOPICS_BYTES_MAX {
            return Err(NewEventError::TopicsTooLong { bytes });
        }
        let (text, json) = match data {
            Data::Text(text) => (text, false),
            Data::Json(text) => (text, true),
        };
        if text.len() > event_bytes {
            return Err(NewEventError::DataTooLong { bytes: text.len(), bytes_max: event_bytes });
        }
        let mut kept = 0;
        for i in 0..topics.len() {
            if !topics[..kept].contains(&topics[i]) {
                topics.swap(kept, i);
                kept += 1;
            }
        }
        topics.truncate(kept);
        let mut data_lines = Vec::with_capacity(text.len() + 16);
        encode::data(&mut data_lines, text);
        Ok(NewEvent {
            topics,
            publisher_id: None,
            event_type: None,
            retry_ms: None,
            private: false,
            json,
            attributes: Vec::new(),
            data_lines,
        })
    }

    /// With a type. `message` is what an event without a type has, and is the same as none.
    #[must_use]
    pub fn with_type(mut self, event_type: EventType) -> NewEvent {
        self.event_type = Some(event_type).filter(|t| t.as_str() != DEFAULT_TYPE);
        self
    }

    /// With the publisher's own id: within the idempotence window it is appended only once.
    #[must_use]
    pub fn with_publisher_id(mut self, id: PublisherId) -> NewEvent {
        self.publisher_id = Some(id);
        self
    }

    /// With the time after which subscribers shall reconnect, in milliseconds.
    #[must_use]
    pub fn with_retry_ms(mut self, retry_ms: u64) -> NewEvent {
        self.retry_ms = Some(retry_ms);
        self
    }

    /// Only for those who may read one of its topics.
    #[must_use]
    pub fn private(mut self) -> NewEvent {
        self.private = true;
        self
    }

    /// With an attribute: it is stored with the event and not sent.
    ///
    /// # Errors
    /// When the attributes take more than [`ATTRIBUTES_BYTES_MAX`] together.
    pub fn with_attribute(mut self, key: &str, value: &str) -> Result<NewEvent, NewEventError> {
        self.attributes.push((key.to_owned(), value.to_owned()));
        let bytes = self.attributes.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        if bytes > ATTRIBUTES_BYTES_MAX {
            return Err(NewEventError::AttributesTooLong { bytes });
        }
        Ok(self)
    }

    /// Its topics, each once.
    #[must_use]
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The topic that counts for idempotence.
    #[must_use]
    pub fn first_topic(&self) -> &Topic {
        &self.topics[0]
    }

    /// The publisher's own id.
    #[must_use]
    pub fn publisher_id(&self) -> Option<&PublisherId> {
        self.publisher_id.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(count: usize) -> Vec<Topic> {
        (0..count).map(|n| Topic::parse(&format!("t{n}")).expect("a topic")).collect()
    }

    #[test]
    fn types_have_their_limits() {
        let longest = "x".repeat(EVENT_TYPE_BYTES_MAX);
        for text in ["a", "message", "tidewire", "größer", " a b ", &longest] {
            assert_eq!(EventType::parse(text).expect("a type").as_str(), text);
        }
        let refused = |text: &str| EventType::parse(text).expect_err("no type");
        assert_eq!(refused(""), EventTypeError::Empty);
        assert_eq!(refused(&"x".repeat(129)), EventTypeError::TooLong { bytes: 129 });
        assert_eq!(refused("tidewire.gap"), EventTypeError::Reserved);
        for text in ["a\nb", "\0", "\u{7f}", "\u{85}", "\u{200b}", "\u{feff}x"] {
            assert_eq!(refused(text), EventTypeError::Control, "{text:?}");
        }
    }

    #[test]
    fn publishers_ids_have_their_limits() {
        let longest = "x".repeat(PUBLISHER_ID_BYTES_MAX);
        for text in ["a", "1-2", "-", "-5a", "--5", "Earliest", "a#", "urn:uuid:1", &longest] {
            assert_eq!(PublisherId::parse(text).expect("an id").as_str(), text);
        }
        let refused = |text: &str| PublisherId::parse(text).expect_err("no id");
        assert_eq!(refused(""), PublisherIdError::Empty);
        assert_eq!(refused(&"x".repeat(129)), PublisherIdError::TooLong { bytes: 129 });
        assert_eq!(refused("#1-2"), PublisherIdError::LeadingHash);
        assert_eq!(refused("earliest"), PublisherIdError::Reserved);
        assert_eq!(refused("-50"), PublisherIdError::Reserved);
        assert_eq!(refused("a\rb"), PublisherIdError::Control);
    }

    #[test]
    fn one_more_than_each_limit_of_an_event_is_refused() {
        let text = Data::Text("12345".to_owned());
        assert!(NewEvent::new(topics(TOPICS_MAX), &text, 5).is_ok());
        assert_eq!(NewEvent::new(topics(0), &text, 5), Err(NewEventError::NoTopic));
        assert_eq!(NewEvent::new(topics(101), &text, 5), Err(NewEventError::TooManyTopics { count: 101 }));
        assert_eq!(NewEvent::new(topics(1), &text, 4), Err(NewEventError::DataTooLong { bytes: 5, bytes_max: 4 }));
        let event = NewEvent::new(topics(1), &text, 5).expect("an event");
        let value = "x".repeat(ATTRIBUTES_BYTES_MAX - 4 - 1);
        let full = event.with_attribute("k", &value).expect("just fits");
        let refused = full.with_attribute("", "").map(|_| ());
        assert_eq!(refused, Err(NewEventError::AttributesTooLong { bytes: ATTRIBUTES_BYTES_MAX + 4 }));
    }

    #[test]
    fn repeated_topics_are_dropped_and_the_order_stays() {
        let named = ["b", "a", "b", "c", "a"].map(|topic| Topic::parse(topic).expect("a topic"));
        let event = NewEvent::new(named.to_vec(), &Data::Text(String::new()), 0).expect("an event");
        assert_eq!(event.topics().iter().map(Topic::as_str).collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(event.first_topic().as_str(), "b");
    }

    #[test]
    fn the_default_type_is_no_type() {
        let event = NewEvent::new(topics(1), &Data::Text(String::new()), 0).expect("an event");
        let message = EventType::parse("message").expect("a type");
        assert_eq!(event.clone().with_type(message), event);
    }
}
