use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tidewire_engine::{ClientAddress, PipeReader, Piped};
use tracing::Instrument;

use super::super::{counted, refusal};
use super::events;
use super::message::{Incoming, finish, translate};
use super::place::Place;
use super::room::{NoRoom, Room};
use crate::api::{self, Answer, Unanswered};
use crate::hub::Hub;
use crate::problem::Problem;
use crate::request_log::Pending;
use crate::{address, request_log, stream};

/// What becomes of a request.
enum Outcome {
    Answer(Answer),
    Events(Response<()>, PipeReader),
}

/// Answers a request.
pub(super) async fn answer(
    hub: Arc<Hub>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: ClientAddress,
    place: Arc<Place>,
) {
    let (is_head, stall_timeout) = (request.method() == Method::HEAD, hub.stall_timeout);
    // In boxes, which go before a stream begins: that lasts.
    let decided = tokio::select! {
        decided = Box::pin(decide(hub, request, peer)) => decided,
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let sent = match decided {
        Ok(Outcome::Answer(answer)) => Box::pin(send(answer, is_head, &mut respond, stall_timeout)).await,
        Ok(Outcome::Events(head, reader)) => match respond.send_response(head, false) {
            Ok(to) => {
                let _stream = place.begin_stream();
                events::carry(to, reader, stall_timeout).await
            }
            Err(error) => Err(error),
        },
        // What became of the request is not known.
        Err(Unanswered) => return respond.send_reset(Reason::INTERNAL_ERROR),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer ended early");
    }
}

async fn decide(hub: Arc<Hub>, request: Request<RecvStream>, peer: ClientAddress) -> Result<Outcome, Unanswered> {
    let (mut parts, body) = request.into_parts();
    translate(&mut parts, !body.is_end_stream());
    let client = address::of_parts(peer, &parts, &hub.trusted_proxies);
    let told = hub.request_log.request(&mut parts, client);
    if let Some(problem) = refusal(&parts) {
        let answer = counted(&hub, Err(problem));
        told.into_iter().for_each(|told| told.answered(&answer));
        return Ok(Outcome::Answer(answer));
    }
    let span = request_log::span(told.as_deref());
    route(hub, parts, body, client, told).instrument(span).await
}

async fn route(
    hub: Arc<Hub>,
    parts: Parts,
    body: RecvStream,
    client: ClientAddress,
    told: Option<Box<Pending>>,
) -> Result<Outcome, Unanswered> {
    let live = hub.live();
    let mut subject = None;
    let origin = parts.headers.get(ORIGIN).cloned();
    let mut outcome = match live.origins.preflight(&parts) {
        Some(leave) => Outcome::Answer(counted(&hub, leave)),
        None => match api::answer(Arc::clone(&hub), Request::from_parts(parts, Incoming(body))).await? {
            api::Outcome::Answer(answer) => Outcome::Answer(answer),
            api::Outcome::Stream(plan) => {
                subject.clone_from(&plan.subject);
                match begin(stream::open(&hub, plan, client)).await? {
                    Ok(reader) => Outcome::Events(hub.streams.response(), reader),
                    Err(problem) => Outcome::Answer(counted(&hub, Err(problem))),
                }
            }
        },
    };
    let headers = match &mut outcome {
        Outcome::Answer(answer) => answer.headers_mut(),
        Outcome::Events(head, _) => head.headers_mut(),
    };
    live.origins.mark(origin.as_ref(), headers);
    finish(headers);
    told.into_iter().for_each(|told| match &outcome {
        Outcome::Answer(answer) => told.answered(answer),
        Outcome::Events(..) => told.streams(subject.as_deref()),
    });
    Ok(outcome)
}

/// The stream once it has begun, or why it does not. Where the shards have ended meanwhile, nobody answers: an
/// `EventSource` comes back after that, and gives up for good after an error.
async fn begin(reader: PipeReader) -> Result<Result<PipeReader, Problem>, Unanswered> {
    match poll_fn(|context| reader.poll(context)).await {
        Piped::Bytes(_) | Piped::Ended => Ok(Ok(reader)),
        Piped::Refused(refusal) => Ok(Err(stream::problem(refusal))),
        Piped::Torn => Err(Unanswered),
    }
}

/// Sends an answer that has its end, as the client makes room for it.
async fn send(
    answer: Answer,
    is_head: bool,
    respond: &mut SendResponse<Bytes>,
    stall_timeout: Duration,
) -> Result<(), h2::Error> {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = body.collect().await;
    let mut body = body.to_bytes();
    if head.status != StatusCode::NO_CONTENT {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let is_empty = is_head || body.is_empty();
    let mut to = respond.send_response(Response::from_parts(head, ()), is_empty)?;
    if is_empty {
        return Ok(());
    }
    let mut room = Room::new(stall_timeout);
    loop {
        let length = match poll_fn(|context| room.poll(&mut to, body.len(), context)).await {
            Ok(length) => length,
            Err(NoRoom::Gone) => return Ok(()),
            Err(NoRoom::Stalled) => {
                to.send_reset(Reason::CANCEL);
                return Ok(());
            }
        };
        let is_last = length == body.len();
        to.send_data(body.split_to(length), is_last)?;
        if is_last {
            return Ok(());
        }
    }
}
