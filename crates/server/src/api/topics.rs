use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;
use tidewire_log::{Filter, Types};
use tidewire_topic::MatcherSet;

use super::{Answer, grants, json, read_log};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::{Query, Text};

/// Where topics are.
pub(super) const PATH: &str = "/api/v1/topics";

/// Topics on a page, unless `limit` says otherwise.
const LIMIT: usize = 100;
/// Topics on a page, at most.
const LIMIT_MAX: usize = 1_000;

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
    let (after, limit) = page_asked(parts.uri.query().unwrap_or_default())?;
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

fn page_asked(query: &str) -> Result<(Option<String>, usize), Problem> {
    let parameters = Query::parse(query).map_err(|error| Problem::new(Kind::Query, error.to_string()))?;
    let after = match parameters.values("after").next() {
        None => None,
        Some(Text::Utf8(after)) => Some(after.clone().into_owned()),
        Some(Text::Lossy(_)) => return Err(Problem::new(Kind::Query, "`after` is not UTF-8 once it is decoded")),
    };
    let limit = match parameters.values("limit").next() {
        None => LIMIT,
        Some(Text::Utf8(digits)) => digits.parse().unwrap_or(0),
        Some(Text::Lossy(_)) => 0,
    };
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::new(Kind::Page, format!("`limit` is a number from 1 to {LIMIT_MAX}")));
    }
    Ok((after.filter(|topic| !topic.is_empty()), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_size_and_a_place() {
        assert_eq!(page_asked(""), Ok((None, 100)));
        assert_eq!(page_asked("after=a%2Fb&limit=1000"), Ok((Some("a/b".to_owned()), 1_000)));
        for query in ["limit=0", "limit=1001", "limit=x", "limit=", "limit=-1"] {
            assert_eq!(page_asked(query).map_err(|problem| problem.kind()), Err(Kind::Page), "{query}");
        }
        assert_eq!(page_asked("after=%FF").map_err(|problem| problem.kind()), Err(Kind::Query));
    }
}
