use std::time::Duration;

use serde::Deserialize;
use tidewire_sse::{DecodeError, Message};

use crate::connection::RequestError;

/// What a subscription has to tell.
#[derive(Debug)]
pub enum Update {
    /// A stream began.
    Connected {
        /// The last event id with which it was asked for: empty for a new reader.
        resumed_from: String,
    },
    /// An event.
    Event(Message),
    /// Nothing that matches lies up to this id: a better place to resume from. Store it as you would an event's.
    Checkpoint {
        /// The id.
        id: String,
    },
    /// Something that may have matched was missed, and cannot be had any more. What follows is without a hole again.
    Gap {
        /// The last event id that was asked for, possibly cut.
        requested: String,
        /// The id from which it goes on.
        resumed_from: String,
        /// `expired`, `erased`, `damaged`, `unknown`, `epoch` or `limit`; further ones may come.
        reason: String,
    },
    /// Something was over the decoder's limits and is missing here. The stream goes on behind it.
    LeftOut(DecodeError),
    /// The connection is gone, or could not be made. The next is tried after `retry_in`.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// How long the client waits.
        retry_in: Duration,
    },
    /// The subscription ended, since another try would not change the answer. Nothing follows.
    Failed(SubscribeError),
}

/// Why a connection ended that will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectReason {
    /// The server ended the stream in good order.
    #[error("the server ended the stream")]
    Ended,
    /// Not a byte for twice the heartbeat: the peer or the path is dead.
    #[error("silent for {} s", after.as_secs())]
    Silent {
        /// The limit.
        after: Duration,
    },
    /// The server cannot now.
    #[error(transparent)]
    Busy(Refusal),
    /// No answer, or a stream that was cut.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Why a subscription ended for good, other than by 204.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// A status that is neither 200 nor 204 nor worth another try.
    #[error(transparent)]
    Refused(Refusal),
    /// 200, and not an event stream.
    #[error("content type is {found:?}, not text/event-stream")]
    ContentType {
        /// What it is, empty if it is missing.
        found: String,
    },
}

/// An answer that refuses, with what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The `type` of the problem document, such as `urn:tidewire:error:…`.
    pub problem: Option<String>,
    /// Its `detail` or `title`, or where else the server points.
    pub detail: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = http::StatusCode::from_u16(self.status).ok();
        let meaning = status.and_then(|status| status.canonical_reason()).unwrap_or("unknown status");
        write!(f, "{} {}", self.status, meaning.to_lowercase())?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// The data of a `tidewire.gap`.
#[derive(Deserialize)]
struct GapData {
    #[serde(default)]
    requested: Option<String>,
    #[serde(default)]
    resumed_from: Option<String>,
    reason: String,
}

/// The hub's own events that have a meaning here; everything else is an event.
pub(crate) fn from_message(message: Message) -> Update {
    match message.event_type.as_str() {
        "tidewire.gap" => gap(message),
        "tidewire.checkpoint" => Update::Checkpoint { id: message.id },
        _ => Update::Event(message),
    }
}

/// A gap that cannot be read is still a gap: what it says is its reason.
fn gap(Message { id, data, .. }: Message) -> Update {
    let unreadable = |_| GapData { requested: None, resumed_from: None, reason: data.clone() };
    let GapData { requested, resumed_from, reason } = serde_json::from_str(&data).unwrap_or_else(unreadable);
    Update::Gap { requested: requested.unwrap_or_default(), resumed_from: resumed_from.unwrap_or(id), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event_type: &str, data: &str) -> Message {
        Message { id: "#5-1".to_owned(), event_type: event_type.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn a_gap_says_what_was_asked_and_why() {
        let data = r##"{"requested":"#1-1","resumed_from":"#4-0","reason":"expired","more":1}"##;
        let Update::Gap { requested, resumed_from, reason } = from_message(message("tidewire.gap", data)) else {
            panic!("a gap is a gap")
        };
        assert_eq!([requested, resumed_from, reason], ["#1-1", "#4-0", "expired"]);
    }

    #[test]
    fn a_gap_that_cannot_be_read_is_not_hidden() {
        for data in ["", "oops", r#"{"reason":5}"#, "[]"] {
            let Update::Gap { resumed_from, reason, .. } = from_message(message("tidewire.gap", data)) else {
                panic!("a gap is a gap")
            };
            assert_eq!([resumed_from.as_str(), reason.as_str()], ["#5-1", data]);
        }
    }

    #[test]
    fn other_types_of_the_hub_are_events() {
        assert!(matches!(from_message(message("tidewire.checkpoint", "")), Update::Checkpoint { id } if id == "#5-1"));
        assert!(matches!(from_message(message("tidewire.expired", "")), Update::Event(_)));
    }

    #[test]
    fn a_refusal_reads_as_one_line() {
        let refusal = Refusal { status: 403, problem: None, detail: Some("topic is not granted".to_owned()) };
        assert_eq!(refusal.to_string(), "403 forbidden: topic is not granted");
        assert_eq!(Refusal { status: 599, problem: None, detail: None }.to_string(), "599 unknown status");
    }
}
