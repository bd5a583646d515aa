//! `POST /api/v1/events`.

mod json;
mod parse;

use std::sync::{Arc, Once};

use http::request::Parts;
use serde::Serialize;
use tidewire_log::{AppendError, HubId, NewEvent};
use tokio::sync::oneshot;

pub(crate) use parse::Limits;
pub(super) use parse::RETRY_MS_MAX;

use super::body::{self, RequestBody};
use super::{Answer, Failure};
use crate::access::Caller;
use crate::hub::{Hub, Live};
use crate::limits::Limit;
use crate::problem::{Kind, Problem};
use crate::trace::{TRACEPARENT, TraceParent};

/// What a publisher is answered.
#[derive(Serialize)]
#[serde(untagged)]
enum Published<'a> {
    One { id: HubId },
    Array { ids: &'a [HubId] },
}

pub(super) async fn publish<B: RequestBody>(hub: &Arc<Hub>, parts: &Parts, body: B) -> Result<Answer, Failure> {
    let live = hub.live();
    let caller = match check_head(hub, &live, parts) {
        Ok(caller) => caller,
        Err(problem) => {
            body::refuse(parts, body);
            return Err(problem.into());
        }
    };
    let body = body::read(hub, parts, body).await?;
    let mut publication = parse::parse(&body, live.limits)?;
    if let Some(traceparent) = TraceParent::of(&parts.headers) {
        let traced = |event: NewEvent| event.with_attribute(TRACEPARENT, traceparent.as_str());
        let events = publication.events.into_iter().map(traced).collect::<Result<_, _>>();
        publication.events = events.expect("it is the only attribute, and short");
    }
    drop(body);
    for (index, event) in publication.events.iter().enumerate() {
        live.access
            .publishing(&caller, event.topics().iter().map(tidewire_topic::Topic::as_str))
            .map_err(|problem| if publication.is_array { problem.at_index(index) } else { problem })?;
    }
    let is_array = publication.is_array;
    let (done, fate) = oneshot::channel();
    hub.log.append(
        publication.events,
        Box::new(move |fate| {
            // The publisher may be gone by now.
            let _ = done.send(fate);
        }),
    );
    // A log that forgets to tell has failed: nobody knows.
    let ids = fate.await.unwrap_or(Err(AppendError::Unknown)).map_err(|error| failure(error, is_array))?;
    hub.metrics.count_published(ids.len());
    Ok(super::json(&published(&ids, is_array)))
}

fn published(ids: &[HubId], is_array: bool) -> Published<'_> {
    match ids {
        &[id] if !is_array => Published::One { id },
        ids => Published::Array { ids },
    }
}

/// Everything that can be refused before the body is read.
fn check_head(hub: &Hub, live: &Live, parts: &Parts) -> Result<Caller, Problem> {
    let caller = super::caller(hub, parts)?;
    live.access.publishing(&caller, std::iter::empty())?;
    body::check(parts, "application/json", hub.body_bytes)?;
    Ok(caller)
}

fn failure(error: AppendError, is_array: bool) -> Failure {
    let text = error.to_string();
    let problem = match error {
        AppendError::IdConflict { index, first } => {
            if is_array {
                Problem::new(Kind::IdConflict, text).with_first_id(first.to_string()).at_index(index)
            } else {
                let text = format!("the event has the publisher's id of {first}, and other content");
                Problem::new(Kind::IdConflict, text).with_first_id(first.to_string())
            }
        }
        AppendError::TooLarge { .. } => Problem::new(Kind::SegmentBytes, text),
        AppendError::Busy => Problem::new(Kind::Busy, text).past(Limit::AppendQueueBytes),
        AppendError::NoSegment { .. } | AppendError::Unread { .. } => Problem::new(Kind::Busy, text),
        AppendError::NoSpace => Problem::new(Kind::NoSpace, text),
        AppendError::NotWritten { reason } => {
            tracing::error!(reason, "events could not be written; their publisher is told so, and nobody sees them");
            Problem::new(Kind::NotWritten, "nothing of what was sent will be shown; send it again")
        }
        AppendError::Failed { reason } => {
            // To say so for each publisher would bury everything else.
            static TOLD: Once = Once::new();
            TOLD.call_once(|| tracing::error!(reason, "the log cannot be written; publishers are refused"));
            Problem::new(Kind::LogFailed, "the log cannot be written; send again later")
        }
        AppendError::Closed => Problem::new(Kind::NotReady, "the hub is stopping"),
        AppendError::Unknown => {
            tracing::error!("the log failed while it was written; a publisher is left without an answer");
            return Failure::Unanswered;
        }
    };
    Failure::Problem(problem)
}
