//! Looking at topics.

use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;
use tidewire_log::{Filter, TopicSummary, Types};
use tidewire_topic::{MatcherSet, Topic};

use super::connections::unanswered;
use super::{Answer, caller, json, on_a_thread_that_may_wait, paging, read_log};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::decode_segment;

/// Where topics are.
pub(super) const PATH: &str = "/api/v1/topics";

/// Of so many topics, subscribers are counted at once: other work of the shards waits meanwhile.
const COUNTED_AT_ONCE: usize = 64;

#[derive(Debug, Serialize)]
struct Page {
    topics: Vec<TopicDocument>,
    /// `after` for the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct TopicDocument {
    topic: String,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_id: Option<String>,
    /// There may be more events, and earlier ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
    /// For those who manage the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribers: Option<u64>,
}

/// What a caller may see of topics.
struct Sight {
    filter: Filter,
    sees_subscribers: bool,
}

/// `GET /api/v1/topics?after=&limit=`: the topics of retained events that the caller may read.
pub(super) async fn topics(hub: &Arc<Hub>, parts: &Parts) -> Result<Answer, Problem> {
    let sight = Sight::of(hub, parts)?;
    let (after, limit) = page_asked(parts.uri.query().unwrap_or_default())?;
    let Sight { filter, sees_subscribers } = sight;
    let found = read_log(hub, move |hub| hub.log.topics(after.as_deref(), limit, &filter)).await?;
    let mut topics: Vec<TopicDocument> = found.topics.into_iter().map(TopicDocument::of).collect();
    if sees_subscribers {
        let names: Vec<String> = topics.iter().map(|topic| topic.topic.clone()).collect();
        let counts = subscribers(hub, names).await?;
        topics.iter_mut().zip(counts).for_each(|(topic, count)| topic.subscribers = Some(count));
    }
    Ok(json(&Page { topics, next: found.next }))
}

/// `GET /api/v1/topics/{topic}`. What the caller may not know of is not there.
pub(super) async fn topic(hub: &Arc<Hub>, parts: &Parts, topic: &str) -> Result<Answer, Problem> {
    let Sight { filter, sees_subscribers } = Sight::of(hub, parts)?;
    let topic = named(topic)?;
    let name = topic.as_str().to_owned();
    let found = read_log(hub, move |hub| hub.log.topic(&name, &filter)).await?;
    let name = topic.as_str().to_owned();
    let counted = if sees_subscribers { subscribers(hub, vec![name.clone()]).await?.pop() } else { None };
    let document = match (found, counted) {
        (None, None | Some(0)) => {
            let detail = "nothing is kept on the topic that you may read, and nobody is known to watch it";
            return Err(Problem::new(Kind::TopicNotFound, detail));
        }
        (Some(summary), subscribers) => TopicDocument { subscribers, ..TopicDocument::of(summary) },
        (None, subscribers) => {
            TopicDocument { topic: name, events: 0, first_id: None, last_id: None, at_least: false, subscribers }
        }
    };
    Ok(json(&document))
}

/// The topic that a segment of a path names.
pub(super) fn named(segment: &str) -> Result<Topic, Problem> {
    let topic = decode_segment(segment).ok_or_else(|| Problem::new(Kind::Topic, "the topic is not UTF-8"))?;
    Topic::parse(&topic).map_err(Problem::from)
}

fn page_asked(query: &str) -> Result<(Option<String>, usize), Problem> {
    let parameters = paging::parameters(query)?;
    Ok((paging::text(&parameters, "after")?, paging::limit(&parameters)?))
}

/// How many streams there are whose filters match each of the topics.
async fn subscribers(hub: &Arc<Hub>, topics: Vec<String>) -> Result<Vec<u64>, Problem> {
    let counted = on_a_thread_that_may_wait(hub, move |hub| {
        // There are no streams before the shards run.
        let Some(engine) = hub.engine.get() else { return Ok(vec![0; topics.len()]) };
        let counts = topics.chunks(COUNTED_AT_ONCE).map(|some| engine.subscribers_of(some).map_err(unanswered));
        Ok(counts.collect::<Result<Vec<_>, Problem>>()?.concat())
    });
    counted.await?
}

impl Sight {
    fn of(hub: &Hub, parts: &Parts) -> Result<Sight, Problem> {
        let caller = caller(hub, parts)?;
        let grants = hub.live().access.reading(&caller)?;
        let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants };
        Ok(Sight { filter, sees_subscribers: hub.live().access.managing(&caller).is_ok() })
    }
}

impl TopicDocument {
    fn of(summary: TopicSummary) -> TopicDocument {
        TopicDocument {
            topic: summary.topic,
            events: summary.events,
            first_id: Some(summary.first.to_string()),
            last_id: Some(summary.last.to_string()),
            at_least: summary.is_cut,
            subscribers: None,
        }
    }
}
