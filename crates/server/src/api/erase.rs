use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use tidewire_log::{Erase, EraseError, HubId};
use tidewire_topic::Topic;

use super::{Answer, check_managing, no_content, on_a_thread_that_may_wait};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::{Query, Text, decode_segment};

/// `DELETE /api/v1/events/{id}`, by the hub's id, or by the publisher's with `?topic=`.
pub(super) async fn event(hub: &Arc<Hub>, parts: &Parts, id: &str) -> Result<Answer, Problem> {
    check_managing(hub, parts)?;
    let what = event_asked(id, parts.uri.query().unwrap_or_default())?;
    erase(hub, what).await
}

/// `DELETE /api/v1/topics/{topic}`.
pub(super) async fn topic(hub: &Arc<Hub>, parts: &Parts, topic: &str) -> Result<Answer, Problem> {
    check_managing(hub, parts)?;
    erase(hub, Erase::Topic(super::topics::named(topic)?)).await
}

fn event_asked(id: &str, query: &str) -> Result<Erase, Problem> {
    let id = decode_segment(id).ok_or_else(absent)?;
    let parameters = Query::parse(query)?;
    let topic = match parameters.values("topic").next() {
        None => None,
        Some(Text::Utf8(topic)) => Some(parse_topic(topic)?),
        Some(Text::Lossy(_)) => return Err(Problem::new(Kind::Query, "`topic` is not UTF-8 once it is decoded")),
    };
    match topic {
        Some(topic) if !id.starts_with('#') => Ok(Erase::PublisherId { topic, id: Cow::into_owned(id) }),
        Some(_) => hub_id(&id).map(Erase::Event).ok_or_else(absent),
        None => hub_id(&id).map(Erase::Event).ok_or_else(|| {
            Problem::new(Kind::TopicMissing, "an event is erased by the hub's id, or by the publisher's and `topic`")
        }),
    }
}

fn hub_id(id: &str) -> Option<HubId> {
    id.parse().ok()
}

fn parse_topic(topic: &str) -> Result<Topic, Problem> {
    Topic::parse(topic).map_err(Problem::from)
}

fn absent() -> Problem {
    Problem::new(Kind::EventNotFound, "no event with this id is retained, or it was erased")
}

async fn erase(hub: &Arc<Hub>, what: Erase) -> Result<Answer, Problem> {
    let erased = on_a_thread_that_may_wait(hub, move |hub| hub.log.erase(&what)).await?;
    erased.map_err(refused)?;
    Ok(no_content())
}

fn refused(error: EraseError) -> Problem {
    match error {
        EraseError::NotFound => absent(),
        EraseError::TooMany => Problem::new(Kind::Tombstones, error.to_string()),
        EraseError::NoSpace => Problem::new(Kind::NoSpace, error.to_string()),
        EraseError::Closed => Problem::new(Kind::NotReady, error.to_string()),
        EraseError::Write(_) | EraseError::Read(_) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "an event or topic could not be erased");
            Problem::new(Kind::LogFailed, "it could not be erased; after a restart it may turn out to be")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_hubs_or_the_publishers_on_a_topic() {
        let hubs = Erase::Event(HubId { ms: 17, seq: 3 });
        let publishers = |id: &str| {
            let topic = Topic::parse("a/b").expect("a topic");
            Erase::PublisherId { topic, id: id.to_owned() }
        };
        assert_eq!(event_asked("%2317-3", ""), Ok(hubs.clone()));
        assert_eq!(event_asked("17-3", "x=1"), Ok(hubs.clone()));
        assert_eq!(event_asked("%2317-3", "topic=a%2Fb"), Ok(hubs));
        assert_eq!(event_asked("17-3", "topic=a%2Fb"), Ok(publishers("17-3")), "a publisher may use such ids");
        assert_eq!(event_asked("order%2F17", "topic=a/b"), Ok(publishers("order/17")));
        for (id, query, kind) in [
            ("order", "", Kind::TopicMissing),
            ("%23order", "topic=a", Kind::EventNotFound),
            ("%FF", "", Kind::EventNotFound),
            ("order", "topic=", Kind::Topic),
            ("order", "topic=*", Kind::Topic),
            ("order", "topic=%FF", Kind::Query),
        ] {
            assert_eq!(event_asked(id, query).map_err(|problem| problem.kind()), Err(kind), "{id} {query}");
        }
    }
}
