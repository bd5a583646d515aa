use std::fmt;

use crate::{Digest, Place, Subscriber};

/// What happened: everything the checker knows.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was sent to the hub. Records that differ in their attempts only are one publication.
    pub publications: Vec<Publication>,
    /// Who read, and what they saw.
    pub subscribers: Vec<Subscriber>,
    /// When the hub was killed.
    pub kills: Vec<Kill>,
    /// The place up to which the test lets events be removed: who asks for the earliest is owed
    /// what lies after it, and after the first place it was told, if that is before. Whoever had a place of its own
    /// must still be told of a gap.
    pub low_water: Place,
}

/// A moment as the test measured it, say in microseconds since its beginning. Only the order
/// matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// One kill of the hub: it fell between two moments, which are to lie as close together as the
/// test can read them. Who is to notice may be quicker than who kills is to read the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kill {
    /// Before the signal was sent.
    pub from: Moment,
    /// After it was sent: nothing was answered any more.
    pub to: Moment,
}

/// One event as a publisher sent it, with every attempt to do so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The publisher's id. With one, all attempts together are one event; without one, each
    /// attempt is an event of its own.
    pub publisher_id: Option<String>,
    /// Its topics, the first one first.
    pub topics: Vec<String>,
    /// Its type; `message` by default.
    pub event_type: String,
    /// Whether only those with a grant may read it.
    pub private: bool,
    /// Its content.
    pub content: Digest,
    /// The number of the array it was sent in, the same for all events of that array.
    pub array: Option<usize>,
    /// Each time it was sent.
    pub attempts: Vec<Attempt>,
}

/// One request, as far as it concerns one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Before its first byte was written.
    pub began: Moment,
    /// After its last byte had been written; `None` if that failed.
    pub written: Option<Moment>,
    /// When it was answered, or found to be lost.
    pub ended: Moment,
    /// What came back.
    pub answer: Answer,
}

/// What the hub answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted under this id.
    Acknowledged(Place),
    /// Answered with an error: it must never appear.
    Refused,
    /// No answer: it may appear.
    None,
}

impl History {
    /// The last place that was acknowledged; [`Place::ZERO`] if none was.
    #[must_use]
    pub fn acknowledged_to(&self) -> Place {
        let attempts = self.publications.iter().flat_map(|publication| &publication.attempts);
        let places = attempts.filter_map(|attempt| match attempt.answer {
            Answer::Acknowledged(place) => Some(place),
            Answer::Refused | Answer::None => None,
        });
        places.max().unwrap_or_default()
    }
}

impl Publication {
    /// A public event of type `message`, not yet sent.
    pub fn new<'t>(topics: impl IntoIterator<Item = &'t str>, content: &str) -> Publication {
        Publication {
            publisher_id: None,
            topics: topics.into_iter().map(str::to_owned).collect(),
            event_type: "message".to_owned(),
            private: false,
            content: Digest::of(content),
            array: None,
            attempts: Vec::new(),
        }
    }

    /// With this publisher's id.
    #[must_use]
    pub fn publisher_id(mut self, id: &str) -> Publication {
        self.publisher_id = Some(id.to_owned());
        self
    }

    /// With this type.
    #[must_use]
    pub fn event_type(mut self, event_type: &str) -> Publication {
        event_type.clone_into(&mut self.event_type);
        self
    }

    /// For those with a grant only.
    #[must_use]
    pub fn private(mut self) -> Publication {
        self.private = true;
        self
    }

    /// As one of this array.
    #[must_use]
    pub fn in_array(mut self, array: usize) -> Publication {
        self.array = Some(array);
        self
    }

    /// Sent once more.
    #[must_use]
    pub fn attempt(mut self, attempt: Attempt) -> Publication {
        self.attempts.push(attempt);
        self
    }
}

impl Attempt {
    /// It was answered.
    #[must_use]
    pub fn answered(began: Moment, ended: Moment, answer: Answer) -> Attempt {
        Attempt { began, written: Some(ended), ended, answer }
    }

    /// It was never answered.
    #[must_use]
    pub fn lost(began: Moment, written: Option<Moment>, ended: Moment) -> Attempt {
        Attempt { began, written, ended, answer: Answer::None }
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let privacy = if self.private { "private " } else { "" };
        write!(f, "{privacy}{} on {}", self.event_type, self.topics.join(" "))?;
        if let Some(id) = &self.publisher_id {
            write!(f, " with publisher's id {id}")?;
        }
        write!(f, " ({})", self.content)
    }
}
