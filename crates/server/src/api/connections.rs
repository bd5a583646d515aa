//! Looking at the streams, and ending one.

use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;
use tidewire_engine::{ClientAddress, Connection, ConnectionId, ConnectionPlace, EngineHandle, NoAnswer};
use tidewire_log::{Filter, Types};
use tidewire_topic::{Matcher, Topic};

use super::{Answer, json, no_content, on_a_thread_that_may_wait, paging};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::decode_segment;

/// Where connections are.
pub(super) const PATH: &str = "/api/v1/connections";

/// What an event stream over HTTP/1.1 is called.
pub(crate) const SSE: &str = "sse";

/// What one over HTTP/2 is called.
pub(crate) const SSE_HTTP2: &str = "sse-h2";

/// For one page, at most so many streams are looked at, and those of one look more.
pub(crate) const LOOKS_MAX: usize = 50_000;
/// A page ends once what its streams ask for has so many bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default, Serialize)]
struct Page {
    connections: Vec<ConnectionDocument>,
    /// `after` for the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct ConnectionDocument {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Not there once the client has gone and the stream is about to.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    topics: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patterns: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    templates: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    transport: &'static str,
    position: String,
    lag: LagDocument,
    age_seconds: u64,
}

#[derive(Debug, Serialize)]
struct LagDocument {
    events: u64,
    milliseconds: u64,
    /// There are more events than that.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_least: bool,
}

/// Which streams are asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    from: ConnectionPlace,
    limit: usize,
    subject: Option<String>,
    topic: Option<Topic>,
    address: Option<ClientAddress>,
}

/// `GET /api/v1/connections?after=&limit=&subject=&topic=&address=`.
pub(super) async fn connections(hub: &Arc<Hub>, parts: &Parts) -> Result<Answer, Problem> {
    super::check_managing(hub, parts)?;
    let asked = Asked::read(parts.uri.query().unwrap_or_default())?;
    let page = on_a_thread_that_may_wait(hub, move |hub| match hub.engine.get() {
        Some(engine) => page(engine, &asked),
        None => Ok(Page::default()),
    });
    Ok(json(&page.await??))
}

/// `DELETE /api/v1/connections/{id}`.
pub(super) async fn end(hub: &Arc<Hub>, parts: &Parts, id: &str) -> Result<Answer, Problem> {
    super::check_managing(hub, parts)?;
    let absent = || Problem::new(Kind::ConnectionNotFound, "no stream has this id; it may have ended");
    let id: ConnectionId = decode_segment(id).and_then(|id| id.parse().ok()).ok_or_else(absent)?;
    let ended = on_a_thread_that_may_wait(hub, move |hub| match hub.engine.get() {
        Some(engine) => engine.end(id).map_err(unanswered),
        None => Ok(false),
    });
    if ended.await?? { Ok(no_content()) } else { Err(absent()) }
}

/// What is answered where a shard does not.
pub(super) fn unanswered(error: NoAnswer) -> Problem {
    Problem::new(Kind::NotReady, error.to_string())
}

impl Asked {
    fn read(query: &str) -> Result<Asked, Problem> {
        let parameters = paging::parameters(query)?;
        let text = |name| paging::text(&parameters, name);
        let page = |detail| move || Problem::new(Kind::Page, detail);
        let from = match text("after")? {
            None => ConnectionPlace::default(),
            Some(next) => next.parse().map_err(|_| page("`after` is what `next` was on the page before")())?,
        };
        let topic = text("topic")?.map(|topic| Topic::parse(&topic));
        let address = text("address")?.map(|address| address.parse());
        Ok(Asked {
            from,
            limit: paging::limit(&parameters)?,
            subject: text("subject")?,
            topic: topic.transpose()?,
            address: address
                .transpose()
                .map_err(|_| page("`address` is an address, with or without a port, or unix:")())?,
        })
    }

    /// Whether a stream is among them; its subject was seen to.
    fn admits(&self, connection: &Connection) -> bool {
        let matches = |topic: &Topic| connection.filter.topics.matches(std::iter::once(topic.as_str()));
        let is_from = |meant| connection.transport.address.is_some_and(|address| address.is_of(meant));
        self.topic.as_ref().is_none_or(matches) && self.address.is_none_or(is_from)
    }
}

/// Asks the shards for one look after the other.
fn page(engine: &EngineHandle, asked: &Asked) -> Result<Page, Problem> {
    let mut page = Page::default();
    let mut next = Some(asked.from);
    let (mut looks_left, mut bytes) = (LOOKS_MAX, 0);
    while let Some(from) = next.filter(|_| looks_left > 0) {
        let look = engine.connections(from, asked.subject.as_deref()).map_err(unanswered)?;
        looks_left = looks_left.saturating_sub(tidewire_core::SLOTS_LOOKED_AT_MAX as usize);
        next = look.next;
        for (id, connection) in look.found.into_iter().filter(|(_, connection)| asked.admits(connection)) {
            if page.connections.len() == asked.limit || bytes > TEXT_BYTES_MAX {
                // The last on the page is not the last there is.
                return Ok(page);
            }
            page.next = Some(ConnectionPlace::after(id).to_string());
            bytes += text_bytes(&connection.filter) + connection.subject.as_ref().map_or(0, String::len);
            page.connections.push(ConnectionDocument::new(id, connection));
        }
    }
    page.next = next.map(|place| place.to_string());
    Ok(page)
}

fn text_bytes(filter: &Filter) -> usize {
    let types = match &filter.types {
        Types::All => 0,
        Types::Only(types) => types.iter().map(|name| name.len()).sum(),
    };
    filter.topics.iter().map(|matcher| matcher.as_str().len()).sum::<usize>() + types
}

impl ConnectionDocument {
    fn new(id: ConnectionId, connection: Connection) -> ConnectionDocument {
        let mut document = ConnectionDocument {
            id: id.to_string(),
            subject: connection.subject,
            address: connection.transport.address.map(|address| address.to_string()),
            topics: Vec::new(),
            patterns: Vec::new(),
            templates: Vec::new(),
            types: Vec::new(),
            transport: if connection.transport.is_piped { SSE_HTTP2 } else { SSE },
            position: connection.place.to_string(),
            lag: LagDocument {
                events: connection.lag_events,
                milliseconds: connection.lag_ms,
                at_least: connection.is_older,
            },
            age_seconds: connection.age_s,
        };
        for matcher in connection.filter.topics.iter() {
            let list = match &matcher {
                Matcher::Any | Matcher::Exact(_) => &mut document.topics,
                Matcher::Pattern(_) => &mut document.patterns,
                Matcher::Template(_) => &mut document.templates,
            };
            list.push(matcher.as_str().to_owned());
        }
        if let Types::Only(types) = &connection.filter.types {
            document.types = types.iter().map(ToString::to_string).collect();
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_list_can_be_of_is_refused() {
        let asked = |query| Asked::read(query).map_err(|problem| problem.kind());
        let all = Asked { from: ConnectionPlace::default(), limit: 100, subject: None, topic: None, address: None };
        assert_eq!(asked("subject=&topic=&address=&after=&colour=red"), Ok(all));
        assert_eq!(asked("limit=3&subject=alice&topic=a%2Fb").map(|asked| asked.limit), Ok(3));
        for (query, kind) in [
            ("limit=0", Kind::Page),
            ("after=x", Kind::Page),
            ("after=1-2-3", Kind::Page),
            ("address=here", Kind::Page),
            ("topic=*", Kind::Topic),
            ("subject=%FF", Kind::Query),
        ] {
            assert_eq!(asked(query), Err(kind), "{query}");
        }
    }
}
