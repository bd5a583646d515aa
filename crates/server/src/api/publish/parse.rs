use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidewire_log::{Data, EventType, NewEvent, NewEventError, PublisherId, TOPICS_MAX};
use tidewire_topic::Topic;

use super::json;
use crate::config::nearest;
use crate::limits::Limit;
use crate::problem::{Kind, Problem};

/// The longest `retry` of an event, in milliseconds: a day.
pub(crate) const RETRY_MS_MAX: u64 = 86_400_000;

/// What a request's events are held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// An event's data, in bytes.
    pub(crate) event_bytes: usize,
    /// Events in an array.
    pub(crate) batch_events: usize,
}

/// What a publisher sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) events: Vec<NewEvent>,
    /// Whether they came in an array, and are answered in one.
    pub(crate) is_array: bool,
}

/// Reads one event or an array of them. Nothing of a body with an error in it is published.
pub(crate) fn parse(body: &[u8], limits: Limits) -> Result<Publication, Problem> {
    let text = str::from_utf8(body).map_err(|error| {
        let detail = format!("JSON is UTF-8, and the body is not at byte {}", error.valid_up_to());
        Problem::new(Kind::Json, detail)
    })?;
    if json::first_byte(text) == Some(b'[') {
        let events = array(text, limits)?;
        return Ok(Publication { events, is_array: true });
    }
    Ok(Publication { events: vec![event(text, limits)?], is_array: false })
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Json, error.to_string())
}

fn array(text: &str, limits: Limits) -> Result<Vec<NewEvent>, Problem> {
    let elements: json::Elements<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if elements.count == 0 {
        return Err(Problem::new(Kind::BatchEmpty, "the array has no event"));
    }
    if elements.count > limits.batch_events {
        let detail =
            format!("{} events, and a request may have {} (batch_events)", elements.count, limits.batch_events);
        return Err(Problem::new(Kind::BatchEvents, detail));
    }
    let mut ids = HashSet::new();
    let mut events = Vec::with_capacity(elements.count);
    for (index, element) in elements.first.iter().enumerate() {
        let event = event(element.get(), limits).map_err(|problem| problem.at_index(index))?;
        if let Some(id) = event.publisher_id()
            && !ids.insert((event.first_topic().clone(), id.clone()))
        {
            let (id, topic) = (id.as_str(), event.first_topic().as_str());
            let problem =
                Problem::new(Kind::IdRepeated, format!("the id {id:?} is there twice on the topic {topic:?}"));
            return Err(problem.at_index(index));
        }
        events.push(event);
    }
    Ok(events)
}

/// The members of an event.
#[derive(Clone, Copy, PartialEq)]
enum Member {
    Topic,
    Topics,
    Data,
    Type,
    Id,
    Private,
    Retry,
}

const MEMBERS: [(&str, Member); 7] = [
    ("topic", Member::Topic),
    ("topics", Member::Topics),
    ("data", Member::Data),
    ("type", Member::Type),
    ("id", Member::Id),
    ("private", Member::Private),
    ("retry", Member::Retry),
];

/// The members as they stand in an object, each once and known.
struct Members<'a>([Option<&'a RawValue>; MEMBERS.len()]);

impl<'a> Members<'a> {
    fn value(&self, member: Member) -> Option<&'a str> {
        self.0[member as usize].map(RawValue::get)
    }
}

/// Reads an event; `element` is its JSON, perhaps with white space around it.
fn event(element: &str, limits: Limits) -> Result<NewEvent, Problem> {
    if json::first_byte(element) != Some(b'{') {
        let value: &RawValue = serde_json::from_str(element).map_err(|error| malformed(&error))?;
        let detail = format!("expected an object, not {}", json::kind(value.get()));
        return Err(Problem::new(Kind::Event, detail));
    }
    let MembersOrProblem(members) = serde_json::from_str(element).map_err(|error| malformed(&error))?;
    let members = members?;
    let topics = topics(&members)?;
    let data = members.value(Member::Data).ok_or_else(|| Problem::new(Kind::Event, "`data` is missing"))?;
    let event = NewEvent::new(topics, &self::data(data)?, limits.event_bytes);
    let mut event = event.map_err(refused)?;
    if let Some(value) = members.value(Member::Type) {
        let event_type = EventType::parse(&string("type", value)?);
        event = event.with_type(event_type?);
    }
    if let Some(value) = members.value(Member::Id) {
        let id = PublisherId::parse(&string("id", value)?);
        event = event.with_publisher_id(id?);
    }
    if let Some(value) = members.value(Member::Retry) {
        event = event.with_retry_ms(retry_ms(value)?);
    }
    match members.value(Member::Private) {
        None | Some("false") => Ok(event),
        Some("true") => Ok(event.private()),
        Some(other) => Err(unexpected("private", "true or false", other)),
    }
}

fn refused(error: NewEventError) -> Problem {
    let kind = match error {
        NewEventError::TooManyTopics { .. } | NewEventError::TopicsTooLong { .. } => Kind::EventTopics,
        NewEventError::DataTooLong { .. } => Kind::EventBytes,
        NewEventError::NoTopic | NewEventError::AttributesTooLong { .. } => Kind::Event,
    };
    let is_long = matches!(error, NewEventError::TopicsTooLong { .. });
    Problem::new(kind, error.to_string()).past(is_long.then_some(Limit::EventTopicsBytes))
}

fn topics(members: &Members<'_>) -> Result<Vec<Topic>, Problem> {
    let names = match (members.value(Member::Topic), members.value(Member::Topics)) {
        (Some(topic), None) => vec![string("topic", topic)?.into_owned()],
        (None, Some(topics)) => topic_names(topics)?,
        (None, None) => return Err(Problem::new(Kind::Event, "`topic` or `topics` is missing")),
        (Some(_), Some(_)) => return Err(Problem::new(Kind::Event, "`topic` and `topics` exclude each other")),
    };
    let parse = |name: String| Topic::parse(&name).map_err(Problem::from);
    names.into_iter().map(parse).collect()
}

fn topic_names(value: &str) -> Result<Vec<String>, Problem> {
    if json::first_byte(value) != Some(b'[') {
        return Err(unexpected("topics", "an array of strings", value));
    }
    let elements: json::Elements<'_> = serde_json::from_str(value).map_err(|error| malformed(&error))?;
    if elements.count == 0 {
        return Err(Problem::new(Kind::Event, "`topics` is empty"));
    }
    if elements.count > TOPICS_MAX {
        let detail = format!("the event has {} topics, and may have {TOPICS_MAX}", elements.count);
        return Err(Problem::new(Kind::EventTopics, detail));
    }
    elements.first.iter().map(|element| string("topics", element.get()).map(Cow::into_owned)).collect()
}

/// A string stays text; any other value is JSON, made compact and otherwise left as it came.
fn data(value: &str) -> Result<Data, Problem> {
    if value.starts_with('"') {
        Ok(Data::Text(string("data", value)?.into_owned()))
    } else {
        Ok(Data::Json(json::compact(value)))
    }
}

fn retry_ms(value: &str) -> Result<u64, Problem> {
    let expected = || unexpected("retry", &format!("a whole number of milliseconds up to {RETRY_MS_MAX}"), value);
    let is_digits = value.bytes().all(|b| b.is_ascii_digit());
    let ms: Option<u64> = value.parse().ok();
    ms.filter(|&ms| is_digits && ms <= RETRY_MS_MAX).ok_or_else(expected)
}

fn string<'a>(member: &str, value: &'a str) -> Result<Cow<'a, str>, Problem> {
    if !value.starts_with('"') {
        return Err(unexpected(member, "a string", value));
    }
    // Only what JSON's grammar lets through can fail here: an escape of half a surrogate pair.
    let json::Text(text) = serde_json::from_str(value)
        .map_err(|_| Problem::new(Kind::Event, format!("`{member}` has an escape that is no character")))?;
    Ok(text)
}

fn unexpected(member: &str, expected: &str, value: &str) -> Problem {
    Problem::new(Kind::Event, format!("`{member}` is to be {expected}, not {}", json::kind(value)))
}

/// What an object turned out to be. The deserializer reads to the object's end in either case.
struct MembersOrProblem<'a>(Result<Members<'a>, Problem>);

impl<'de> Deserialize<'de> for MembersOrProblem<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = MembersOrProblem<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members([None; MEMBERS.len()]);
        while let Some(json::Text(name)) = map.next_key()? {
            let known = MEMBERS.iter().position(|(known, _)| *known == name);
            let problem = match known {
                None => unknown_member(&name),
                Some(member) if members.0[member].is_some() => {
                    Problem::new(Kind::Event, format!("`{name}` is there twice"))
                }
                Some(member) => {
                    members.0[member] = Some(map.next_value()?);
                    continue;
                }
            };
            map.next_value::<IgnoredAny>()?;
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(MembersOrProblem(Err(problem)));
        }
        Ok(MembersOrProblem(Ok(members)))
    }
}

fn unknown_member(name: &str) -> Problem {
    const QUOTED_CHARS_MAX: usize = 64;
    if name == "exclude" {
        return Problem::new(Kind::Member, "`exclude` names a session, which this hub does not have yet; leave it out");
    }
    let quoted: String = name.chars().take(QUOTED_CHARS_MAX).collect();
    let meant = match nearest(name, MEMBERS.iter().map(|(known, _)| *known)) {
        Some(known) => format!(", did you mean `{known}`?"),
        None => format!("; the members are {}", MEMBERS.map(|(known, _)| format!("`{known}`")).join(", ")),
    };
    Problem::new(Kind::Member, format!("an event has no member {quoted:?}{meant}"))
}

#[cfg(test)]
mod tests;
