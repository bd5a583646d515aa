use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;
use tidewire_log::{Filter, Types};
use tidewire_topic::MatcherSet;

use super::{Answer, grants, json, paging, read_log};
use crate::hub::Hub;
use crate::problem::Problem;

/// Where topics are.
pub(super) const PATH: &str = "/api/v1/topics";

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
    first_id: String,
    last_id: String,
    /// There may be more events, and earlier ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
}

/// `GET /api/v1/topics?after=&limit=`: the topics of retained events that the caller may read.
pub(super) async fn topics(hub: &Arc<Hub>, parts: &Parts) -> Result<Answer, Problem> {
    let grants = grants(hub, parts)?;
    let parameters = paging::parameters(parts.uri.query().unwrap_or_default())?;
    let (after, limit) = (paging::text(&parameters, "after")?, paging::limit(&parameters)?);
    drop(parameters);
    let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants };
    let found = read_log(hub, move |hub| hub.log.topics(after.as_deref(), limit, &filter)).await?;
    let topics = found.topics.into_iter().map(|summary| TopicDocument {
        topic: summary.topic,
        events: summary.events,
        first_id: summary.first.to_string(),
        last_id: summary.last.to_string(),
        at_least: summary.is_cut,
    });
    Ok(json(&Page { topics: topics.collect(), next: found.next }))
}
