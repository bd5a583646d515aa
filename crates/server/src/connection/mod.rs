//! Connections that the shards handed over, and their way back.

mod carrier;
mod closing;
pub(crate) mod http2;
mod pace;
mod way_back;
mod wire;

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidewire_engine::{ClientAddress, Decide, HTTP2_PREFACE, Refusal, Socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::api::{self, Answer, Outcome, Unanswered};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::shutdown::Shutdown;
use crate::tls::{Opened, Tls};
use crate::{address, request_log, stream, tls};
use carrier::Carrier;
use http2::Rewound;
use pace::{HeadTimer, Pace};
use way_back::WayBack;
use wire::Wire;

/// How long a connection to the admin listener may stand idle between two requests, the next one's head included.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// What hyper may hold of a request's head, in bytes; the shards' limit on the first one.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection that has turned into a stream.
pub(crate) struct Returned {
    pub(crate) socket: Socket,
    /// What admits the stream.
    pub(crate) admit: Decide,
}

/// Takes a connection from a shard, with the bytes read from it, or gives it back when there are `max_connections`; or
/// takes it for its handshake, or gives it back while there are as many handshakes as there may be. Called on the shard's
/// thread.
pub(crate) fn take_over(
    hub: &Arc<Hub>,
    shutdown: &Shutdown,
    runtime: &tokio::runtime::Handle,
    socket: Socket,
    bytes: Vec<u8>,
    peer: ClientAddress,
) -> Result<(), Socket> {
    let is_new = matches!(socket, Socket::Tcp(_)) && hub.tls.is_some();
    let places = if is_new { &hub.handshakes } else { &hub.connections };
    let Ok(place) = Arc::clone(places).try_acquire_owned() else { return Err(socket) };
    let (hub, shutdown) = (Arc::clone(hub), shutdown.clone());
    // Tasks of their own: one takes as much memory as the largest that it may become.
    match (socket, hub.tls.clone()) {
        (Socket::Tcp(socket), Some(tls)) => drop(runtime.spawn(greet(hub, tls, socket, peer, place, shutdown))),
        (Socket::Tcp(socket), None) if bytes.starts_with(HTTP2_PREFACE) => drop(runtime.spawn(async move {
            match carrier::prepare(socket, hub.stall_timeout) {
                Ok(socket) => http2::serve(hub, Rewound::new(bytes, socket), peer, place, &shutdown).await,
                Err(error) => is_gone(&error),
            }
        })),
        (socket, _) => drop(runtime.spawn(async move {
            match Carrier::new(socket, hub.stall_timeout) {
                Ok(carrier) => {
                    let returned = serve(Arc::clone(&hub), carrier, bytes, peer, &shutdown).await;
                    drop(place);
                    if let Some(Returned { socket, admit }) = returned {
                        // The shards accept a moment before their handle is set.
                        hub.engine.wait().adopt(socket, admit, peer);
                    }
                }
                Err(error) => is_gone(&error),
            }
        })),
    }
    Ok(())
}

fn is_gone(error: &io::Error) {
    tracing::debug!(%error, "a connection could not be taken over");
}

/// Agrees on TLS with a client. Its requests in HTTP/1.1 are read by a shard from then on, those in HTTP/2 here. One that
/// speaks HTTP without TLS is told so.
async fn greet(
    hub: Arc<Hub>,
    tls: Arc<Tls>,
    socket: std::net::TcpStream,
    peer: ClientAddress,
    place: OwnedSemaphorePermit,
    shutdown: Shutdown,
) {
    let socket = match carrier::prepare(socket, hub.stall_timeout) {
        Ok(socket) => socket,
        Err(error) => return is_gone(&error),
    };
    // What does not last goes with its box.
    let opened = tokio::select! {
        opened = Box::pin(tls::open(&hub, &tls, socket)) => opened,
        () = Box::pin(shutdown.begun()) => return,
    };
    match opened {
        None => {}
        Some(Opened::Http1(socket)) => {
            drop(place);
            hub.engine.wait().read_from(socket, peer);
        }
        Some(Opened::Http2(stream)) => {
            drop(place);
            let Ok(place) = Arc::clone(&hub.connections).try_acquire_owned() else {
                return hub.metrics.count_problem(&stream::problem(Refusal::TooManyConnections));
            };
            http2::serve(hub, stream, peer, place, &shutdown).await;
        }
        Some(Opened::PlainHttp(socket)) => {
            let problem = Problem::new(Kind::Head, "this port speaks TLS: ask by https");
            Box::pin(end_with(&hub, Carrier::Tcp(TokioIo::new(socket)), peer, Some(problem), &shutdown)).await;
        }
    }
}

/// Closes a connection, with an answer if there is one to give.
async fn end_with(hub: &Hub, carrier: Carrier, peer: ClientAddress, problem: Option<Problem>, shutdown: &Shutdown) {
    let mut answer = Vec::new();
    if let Some(problem) = problem {
        hub.metrics.count_problem(&problem);
        hub.metrics.count_answer(problem.kind().status());
        answer = problem.to_bytes();
        hub.request_log.refused(problem.kind(), answer.len(), peer);
    }
    tokio::select! {
        () = closing::close(carrier, &answer, hub.body_timeout) => {}
        () = shutdown.begun() => {}
    }
}

/// Serves the requests on a connection until it ends, or turns into a stream.
async fn serve(
    hub: Arc<Hub>,
    carrier: Carrier,
    bytes: Vec<u8>,
    peer: ClientAddress,
    shutdown: &Shutdown,
) -> Option<Returned> {
    let way_back = Arc::new(WayBack::default());
    let pace = Arc::new(Pace::default());
    let wire = Wire::new(carrier, bytes, Arc::clone(&way_back), Arc::clone(&pace));
    let asked = Arc::clone(&way_back);
    let asked_of = Arc::clone(&hub);
    let counted = Arc::clone(&pace);
    let service = service_fn(move |request| {
        let answer = handle(&asked_of, &asked, peer, request);
        if counted.count_request() < asked_of.connection_requests {
            return answer;
        }
        let hub = Arc::clone(&asked_of);
        Box::pin(async move { answer.await.map(|answer| last(&hub, answer)) })
    });
    let mut connection = http1::Builder::new()
        .timer(HeadTimer { pace: Arc::clone(&pace), head_timeout: hub.body_timeout })
        .header_read_timeout(hub.idle_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // Who has no more to say than this request waits for its answer all the same.
        .half_close(true)
        // Answers are small: to copy head and body together costs less than to write them from two places.
        .writev(false)
        .serve_connection(wire, service);
    let mut stopping = Box::pin(shutdown.begun());
    let (mut is_stopping, mut is_ending, mut is_late, mut refusal) = (false, false, false, None);
    let ended = poll_fn(|cx| {
        let mut served = Poll::Pending;
        if !is_ending {
            served = connection.poll_without_shutdown(cx);
            // Only now: what has come of a request before it is looked at for the first time is not idle.
            if served.is_pending() && !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
                served = connection.poll_without_shutdown(cx);
            }
        }
        if let Poll::Ready(served) = served {
            match served {
                Ok(()) => is_ending = true,
                // Earlier answers may still be in hyper's buffer.
                Err(error) if error.is_parse() => {
                    refusal = Some(unreadable(&error));
                    is_ending = true;
                }
                // Answers that are still in hyper's buffer stay there: their client does not read them.
                Err(error) if error.is_timeout() && pace.is_flushed() => {
                    is_late = true;
                    return Poll::Ready(Ok(None));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if is_ending {
            // The last answer may not be flushed yet; to poll the connection itself flushes it.
            return Pin::new(&mut connection).poll(cx).map_ok(|()| None);
        }
        way_back.take().map_or(Poll::Pending, |admit| Poll::Ready(Ok(Some(admit))))
    });
    let admit = match ended.await {
        Ok(admit) => admit,
        Err(error) => {
            tracing::debug!(%error, "a connection ended early");
            return None;
        }
    };
    let parts = connection.into_parts();
    if is_late {
        if !pace.has_begun() && parts.read_buf.is_empty() {
            // It was idle.
            return None;
        }
        refusal = Some(stream::problem(Refusal::HeadTimeout));
    }
    let carrier = parts.io.into_carrier();
    let Some(admit) = admit else {
        end_with(&hub, carrier, peer, refusal, shutdown).await;
        return None;
    };
    // A stream has no request behind it: what was read of one is dropped, as the shard drops what comes later.
    match carrier.into_socket() {
        Ok(socket) => Some(Returned { socket, admit }),
        Err(error) => {
            tracing::debug!(%error, "a connection could not go back to a shard");
            None
        }
    }
}

/// Says that no other request will be answered on the connection, which has had `connection_requests`.
fn last(hub: &Hub, mut answer: Answer) -> Answer {
    hub.metrics.connections_used_up.inc();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// What is said of a head that hyper cannot read: what a shard says of it.
fn unreadable(error: &hyper::Error) -> Problem {
    tracing::debug!(%error, "a request could not be read");
    stream::problem(if error.is_parse_too_large() { Refusal::HeadTooLarge } else { Refusal::HeadMalformed })
}

type Handling = Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send>>;

fn handle(hub: &Arc<Hub>, way_back: &Arc<WayBack>, peer: ClientAddress, request: Request<Incoming>) -> Handling {
    let (mut parts, body) = request.into_parts();
    let client = address::of_parts(peer, &parts, &hub.trusted_proxies);
    if let Some(problem) = refusal(&parts) {
        let told = hub.request_log.request(&mut parts, client);
        let mut answer = counted(hub, Err(problem));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        told.into_iter().for_each(|told| told.answered(&answer));
        return Box::pin(async { Ok(answer) });
    }
    let origin = parts.headers.get(ORIGIN).cloned();
    let (hub, way_back) = (Arc::clone(hub), Arc::clone(way_back));
    let live = hub.live();
    let told = hub.request_log.request(&mut parts, client);
    let span = request_log::span(told.as_deref());
    let answering = async move {
        let mut answer = match live.origins.preflight(&parts) {
            Some(leave) => counted(&hub, leave),
            None => match api::answer(Arc::clone(&hub), Request::from_parts(parts, body)).await? {
                Outcome::Answer(answer) => answer,
                Outcome::Stream(plan) => {
                    told.into_iter().for_each(|told| told.streams(plan.subject.as_deref()));
                    way_back.ask(Box::new(move || {
                        stream::admission(&hub, plan, client, origin.as_ref().map(HeaderValue::as_bytes))
                    }));
                    // The driver takes the connection apart and drops this.
                    return pending().await;
                }
            },
        };
        live.origins.mark(origin.as_ref(), answer.headers_mut());
        told.into_iter().for_each(|told| told.answered(&answer));
        Ok(answer)
    };
    Box::pin(answering.instrument(span))
}

/// Why a request is not looked at any further, and its connection is closed.
fn refusal(parts: &Parts) -> Option<Problem> {
    if !api::head_of(parts).names_its_host() {
        return Some(Problem::new(Kind::Head, "a request has one Host field, which is a host and perhaps a port"));
    }
    // What follows may be meant for the other end.
    let is_tunnel = parts.method == Method::CONNECT;
    is_tunnel.then(|| Problem::new(Kind::Method, "the hub makes no tunnels").allowing(api::METHODS))
}

fn counted(hub: &Hub, leave: Result<Answer, Problem>) -> Answer {
    let answer = leave.unwrap_or_else(|problem| {
        hub.metrics.count_problem(&problem);
        problem.to_response()
    });
    hub.metrics.count_answer(answer.status());
    answer
}

/// Serves a connection whose every request has an ordinary answer.
pub(crate) async fn serve_plain<S, F>(socket: S, shutdown: &Shutdown, handle: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = handle(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.begun() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the admin listener ended early");
    }
}

#[cfg(test)]
mod tests;
