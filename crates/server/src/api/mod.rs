//! The API: which handler a request is for, and how it is answered.

mod body;
mod connections;
mod erase;
mod event;
mod openapi;
mod page;
mod paging;
pub(crate) mod publish;
mod routes;
mod schemas;
mod topics;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tidewire_topic::MatcherSet;

pub(crate) use body::RequestBody;
#[cfg(test)]
pub(crate) use connections::{LOOKS_MAX as CONNECTION_LOOKS_MAX, TEXT_BYTES_MAX as CONNECTION_TEXT_BYTES_MAX};
#[cfg(test)]
pub(crate) use paging::LIMIT_MAX as PAGE_MAX;
use routes::Action;

use crate::access::{Caller, Presented};
use crate::decide::RequestHead;
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::time;

/// An answer that has its end.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Why a request has no ordinary answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It is answered with this.
    Problem(Problem),
    /// The connection is closed without an answer: what became of the request is not known.
    Unanswered,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Problem(problem)
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the request's fate is not known")]
pub(crate) struct Unanswered;

/// Answers any request but one for a stream that is admitted.
pub(crate) async fn answer<B: RequestBody>(hub: Arc<Hub>, request: Request<B>) -> Result<Answer, Unanswered> {
    let (parts, body) = request.into_parts();
    let mut answer = match route(&hub, &parts, body).await {
        Ok(answer) => answer,
        Err(Failure::Problem(problem)) => {
            hub.metrics.count_problem(&problem);
            problem.to_response()
        }
        Err(Failure::Unanswered) => return Err(Unanswered),
    };
    hub.metrics.count_answer(answer.status());
    if hub.is_draining() {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answer)
}

async fn route<B: RequestBody>(hub: &Arc<Hub>, parts: &Parts, body: B) -> Result<Answer, Failure> {
    let (path, method) = (parts.uri.path(), parts.method.as_str());
    let Some((route, name)) = routes::find(path) else {
        body::discard(body);
        return Ok(asset(path, method)?);
    };
    let Some(operation) = route.operation(method) else {
        body::discard(body);
        return Err(refuse_method(method, path, route.methods()).into());
    };
    let answer = if operation.action == Action::Publish {
        publish::publish(hub, parts, body).await
    } else {
        body::discard(body);
        act(hub, parts, operation.action, name).await.map_err(Failure::from)
    };
    operation.check(&answer);
    answer
}

async fn act(hub: &Arc<Hub>, parts: &Parts, action: Action, name: &str) -> Result<Answer, Problem> {
    match action {
        Action::Publish | Action::Stream => Err(no_stream(hub, parts)),
        Action::Event => event::event(hub, parts, name).await,
        Action::EraseEvent => erase::event(hub, parts, name).await,
        Action::Topics => topics::topics(hub, parts).await,
        Action::Topic => topics::topic(hub, parts, name).await,
        Action::EraseTopic => erase::topic(hub, parts, name).await,
        Action::Connections => connections::connections(hub, parts).await,
        Action::EndConnection => connections::end(hub, parts, name).await,
        Action::Document => Ok(openapi::answer()),
    }
}

/// A file of the page, which is no part of the API.
fn asset(path: &str, method: &str) -> Result<Answer, Problem> {
    let absent = || Problem::new(Kind::NotFound, format!("nothing is at {path}"));
    let asset = page::asset(path).ok_or_else(absent)?;
    match method {
        "GET" | "HEAD" => Ok(asset.to_response()),
        _ => Err(refuse_method(method, path, "GET, HEAD".to_owned())),
    }
}

/// Why this request for the events gets no stream.
fn no_stream(hub: &Hub, parts: &Parts) -> Problem {
    match crate::decide::decide(&head_of(parts), &hub.access, time::now_ms() / 1_000) {
        Err(problem) => problem,
        // The connection's driver takes those that are admitted; only one that is not plain
        // HTTP/1.1 over TCP comes here.
        Ok(_) => Problem::new(Kind::NotReady, "streams are not served on this connection"),
    }
}

fn refuse_method(method: &str, path: &str, allowed: String) -> Problem {
    Problem::new(Kind::Method, format!("{path} takes {allowed}, not {method}")).allowing(allowed)
}

/// What admission looks at in a request that an HTTP library has parsed.
pub(crate) fn head_of(parts: &Parts) -> RequestHead<'_> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let version_minor = u8::from(parts.version >= http::Version::HTTP_11);
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    RequestHead::new(parts.method.as_str(), target, version_minor, headers)
}

/// Whether a request is for the events, and admission is to be asked for a stream.
pub(crate) fn asks_for_events(parts: &Parts) -> bool {
    crate::decide::asks_for_events(parts.method.as_str(), parts.uri.path())
}

/// Who is calling.
fn caller(hub: &Hub, parts: &Parts) -> Result<Caller, Problem> {
    let mut presented = Presented::default();
    parts.headers.get_all(AUTHORIZATION).iter().for_each(|value| presented.add(value.as_bytes()));
    hub.access.caller(presented, time::now_ms() / 1_000)
}

/// Whether the caller may manage the hub.
fn check_managing(hub: &Hub, parts: &Parts) -> Result<(), Problem> {
    hub.access.managing(&caller(hub, parts)?)
}

/// The topics whose private events the caller may read.
fn grants(hub: &Hub, parts: &Parts) -> Result<Option<MatcherSet>, Problem> {
    hub.access.reading(&caller(hub, parts)?)
}

/// Reads the log.
async fn read_log<T: Send + 'static>(
    hub: &Arc<Hub>,
    read: impl FnOnce(&Hub) -> Result<T, tidewire_log::ReadError> + Send + 'static,
) -> Result<T, Problem> {
    on_a_thread_that_may_wait(hub, read).await?.map_err(|error| {
        tracing::error!(%error, "the log could not be read for a request");
        Problem::new(Kind::LogFailed, "the log could not be read")
    })
}

/// Does something with the log on a thread that may wait.
async fn on_a_thread_that_may_wait<T: Send + 'static>(
    hub: &Arc<Hub>,
    work: impl FnOnce(&Hub) -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = Arc::clone(&hub.reads).acquire_owned().await.expect("the semaphore is never closed");
    let worker = Arc::clone(hub);
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work(&worker)
    });
    done.await.map_err(|error| {
        tracing::error!(%error, "work on the log did not come back");
        Problem::new(Kind::Internal, "work on the log did not come back")
    })
}

fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).expect("strings and numbers are always JSON");
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn no_content() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests;
