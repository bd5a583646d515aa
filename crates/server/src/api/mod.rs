//! The API: which handler a request is for, and how it is answered.

mod bodies;
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
mod subscribe;
mod topics;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tidewire_topic::MatcherSet;

#[cfg(test)]
pub(crate) use bodies::BODY_RATE_MIN;
pub(crate) use bodies::Bodies;
pub(crate) use body::RequestBody;
#[cfg(test)]
pub(crate) use connections::{LOOKS_MAX as CONNECTION_LOOKS_MAX, TEXT_BYTES_MAX as CONNECTION_TEXT_BYTES_MAX};
pub(crate) use connections::{SSE, SSE_HTTP2};
#[cfg(test)]
pub(crate) use paging::LIMIT_MAX as PAGE_MAX;
use routes::Action;

use crate::access::{Caller, Presented};
use crate::decide::{Plan, RequestHead};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::request_log::Subject;
use crate::time;

/// The methods that some path of the hub takes.
pub(crate) const METHODS: &str = "GET, HEAD, POST, QUERY, DELETE";

/// An answer that has its end.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An answer.
    Answer(Answer),
    /// An event stream, which is for the connection's driver to begin.
    Stream(Plan),
}

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
pub(crate) async fn answer<B: RequestBody>(hub: Arc<Hub>, request: Request<B>) -> Result<Outcome, Unanswered> {
    let (parts, body) = request.into_parts();
    let mut answer = match route(&hub, &parts, body).await {
        Ok(Outcome::Answer(answer)) => answer,
        Ok(stream) => return Ok(stream),
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
    Ok(Outcome::Answer(answer))
}

async fn route<B: RequestBody>(hub: &Arc<Hub>, parts: &Parts, body: B) -> Result<Outcome, Failure> {
    let (path, method) = (parts.uri.path(), parts.method.as_str());
    if (method, path) == ("OPTIONS", "*") {
        body::discard(body);
        let mut answer = no_content();
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
        return Ok(Outcome::Answer(answer));
    }
    let Some((route, name)) = routes::find(path) else {
        body::discard(body);
        return Ok(Outcome::Answer(asset(path, method)?));
    };
    let Some(operation) = route.operation(method) else {
        body::discard(body);
        return Err(refuse_method(method, path, route.methods()).into());
    };
    let outcome = act(hub, parts, body, operation.action, name).await;
    operation.check(&outcome);
    outcome
}

async fn act<B: RequestBody>(
    hub: &Arc<Hub>,
    parts: &Parts,
    body: B,
    action: Action,
    name: &str,
) -> Result<Outcome, Failure> {
    match action {
        Action::Publish => publish::publish(hub, parts, body).await.map(Outcome::Answer),
        Action::Stream => subscribe::subscribe(hub, parts, body).await.map(Outcome::Stream),
        Action::Event => without(body, event::event(hub, parts, name)).await,
        Action::EraseEvent => without(body, erase::event(hub, parts, name)).await,
        Action::Topics => without(body, topics::topics(hub, parts)).await,
        Action::Topic => without(body, topics::topic(hub, parts, name)).await,
        Action::EraseTopic => without(body, erase::topic(hub, parts, name)).await,
        Action::Connections => without(body, connections::connections(hub, parts)).await,
        Action::EndConnection => without(body, connections::end(hub, parts, name)).await,
        Action::Document => without(body, async { Ok(openapi::answer()) }).await,
    }
}

/// The answer to a request whose body says nothing.
async fn without<B: RequestBody>(
    body: B,
    answer: impl Future<Output = Result<Answer, Problem>>,
) -> Result<Outcome, Failure> {
    body::discard(body);
    Ok(Outcome::Answer(answer.await?))
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

/// Who is calling.
fn caller(hub: &Hub, parts: &Parts) -> Result<Caller, Problem> {
    let mut presented = Presented::default();
    parts.headers.get_all(AUTHORIZATION).iter().for_each(|value| presented.add(value.as_bytes()));
    let caller = hub.live().access.caller(presented, time::now_ms() / 1_000)?;
    Subject::note(parts, caller.name());
    Ok(caller)
}

/// Whether the caller may manage the hub.
fn check_managing(hub: &Hub, parts: &Parts) -> Result<(), Problem> {
    hub.live().access.managing(&caller(hub, parts)?)
}

/// The topics whose private events the caller may read.
fn grants(hub: &Hub, parts: &Parts) -> Result<Option<MatcherSet>, Problem> {
    hub.live().access.reading(&caller(hub, parts)?)
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
