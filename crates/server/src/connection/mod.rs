//! Connections that the shards handed over, and their way back.

mod carrier;
mod closing;
mod way_back;
mod wire;

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
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
use tidewire_engine::{ClientAddress, Refusal, Socket, TlsSocket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::api::{self, Answer, Unanswered};
use crate::decide::decide;
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::shutdown::Shutdown;
use crate::tls::{Opened, Protocol, Tls};
use crate::{stream, time, tls};
use carrier::Carrier;
use way_back::{WayBack, head_bytes};
use wire::Wire;

/// How long a connection may stand idle between two requests, the next one's head included.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// What hyper may hold of a request's head, in bytes; the shards' limit on the first one.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection that has turned into a stream.
pub(crate) struct Returned {
    pub(crate) socket: Socket,
    /// The request's head, and what was read after it.
    pub(crate) bytes: Vec<u8>,
}

/// Takes a connection from a shard, with the bytes read from it, or for its handshake, or gives it back when there are
/// `max_connections`. Called on the shard's thread.
pub(crate) fn take_over(
    hub: &Arc<Hub>,
    shutdown: &Shutdown,
    runtime: &tokio::runtime::Handle,
    socket: Socket,
    bytes: Vec<u8>,
    peer: ClientAddress,
) -> Result<(), Socket> {
    let Ok(place) = Arc::clone(&hub.connections).try_acquire_owned() else { return Err(socket) };
    let hub = Arc::clone(hub);
    let shutdown = shutdown.clone();
    runtime.spawn(async move {
        let carrier = match Carrier::new(socket, hub.stall_timeout) {
            Ok(carrier) => carrier,
            // The peer is gone already.
            Err(error) => return tracing::debug!(%error, "a connection could not be taken over"),
        };
        let returned = match (&hub.tls, carrier) {
            (Some(tls), Carrier::Tcp(socket)) => greet(&hub, tls, socket.into_inner(), &shutdown).await,
            (_, carrier) => serve(Arc::clone(&hub), carrier, bytes, &shutdown).await,
        };
        drop(place);
        if let Some(Returned { socket, bytes }) = returned {
            // The shards accept a moment before their handle is set.
            hub.engine.wait().adopt(socket, bytes, peer);
        }
    });
    Ok(())
}

/// Agrees on TLS with a client, whose requests a shard reads from then on. One that speaks HTTP without it is told so.
async fn greet(hub: &Arc<Hub>, tls: &Tls, socket: TcpStream, shutdown: &Shutdown) -> Option<Returned> {
    let opened = tokio::select! {
        opened = tls::open(hub, tls, socket) => opened?,
        () = shutdown.begun() => return None,
    };
    match opened {
        Opened::Tls(socket, session, Protocol::Http1) => {
            let socket = socket.into_std().ok()?;
            Some(Returned { socket: Socket::Tls(Box::new(TlsSocket::new(socket, *session))), bytes: Vec::new() })
        }
        Opened::PlainHttp(socket) => {
            let problem = Problem::new(Kind::Head, "this port speaks TLS: ask by https");
            end_with(hub, Carrier::Tcp(TokioIo::new(socket)), Some(problem), shutdown).await;
            None
        }
    }
}

/// Closes a connection, with an answer if there is one to give.
async fn end_with(hub: &Hub, carrier: Carrier, problem: Option<Problem>, shutdown: &Shutdown) {
    let mut answer = Vec::new();
    if let Some(problem) = problem {
        hub.metrics.count_problem(&problem);
        answer = problem.to_bytes();
    }
    tokio::select! {
        () = closing::close(carrier, &answer, hub.body_timeout) => {}
        () = shutdown.begun() => {}
    }
}

/// Serves the requests on a connection until it ends, or turns into a stream.
async fn serve(hub: Arc<Hub>, carrier: Carrier, bytes: Vec<u8>, shutdown: &Shutdown) -> Option<Returned> {
    let way_back = Arc::new(WayBack::default());
    let wire = Wire::new(carrier, bytes, Arc::clone(&way_back));
    let asked = Arc::clone(&way_back);
    let asked_of = Arc::clone(&hub);
    let service = service_fn(move |request| handle(&asked_of, &asked, request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // Who has no more to say than this request waits for its answer all the same.
        .half_close(true)
        // Answers are small: to copy head and body together costs less than to write them from two places.
        .writev(false)
        .serve_connection(wire, service);
    let mut stopping = Box::pin(shutdown.begun());
    let (mut is_stopping, mut is_ending, mut refusal) = (false, false, None);
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
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if is_ending {
            // The last answer may not be flushed yet; to poll the connection itself flushes it.
            return Pin::new(&mut connection).poll(cx).map_ok(|()| None);
        }
        way_back.take().map_or(Poll::Pending, |head| Poll::Ready(Ok(Some(head))))
    });
    let head = match ended.await {
        Ok(head) => head,
        Err(error) => {
            tracing::debug!(%error, "a connection ended early");
            return None;
        }
    };
    let parts = connection.into_parts();
    let (carrier, unread) = parts.io.into_parts();
    let Some(mut bytes) = head else {
        end_with(&hub, carrier, refusal, shutdown).await;
        return None;
    };
    bytes.extend_from_slice(&parts.read_buf);
    bytes.extend_from_slice(&unread);
    match carrier.into_socket() {
        Ok(socket) => Some(Returned { socket, bytes }),
        Err(error) => {
            tracing::debug!(%error, "a connection could not go back to a shard");
            None
        }
    }
}

/// What is said of a head that hyper cannot read: what a shard says of it.
fn unreadable(error: &hyper::Error) -> Problem {
    tracing::debug!(%error, "a request could not be read");
    stream::problem(if error.is_parse_too_large() { Refusal::HeadTooLarge } else { Refusal::HeadMalformed })
}

type Handling = Pin<Box<dyn Future<Output = Result<Answer, Unanswered>> + Send>>;

fn handle(hub: &Arc<Hub>, way_back: &WayBack, request: Request<Incoming>) -> Handling {
    let (parts, body) = request.into_parts();
    if let Some(problem) = refusal(&parts) {
        let mut answer = counted(hub, Err(problem));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Box::pin(async { Ok(answer) });
    }
    if api::asks_for_events(&parts) && decide(&api::head_of(&parts), &hub.access, time::now_ms() / 1_000).is_ok() {
        way_back.ask(head_bytes(&parts));
        // The driver takes the connection apart and drops this.
        return Box::pin(pending());
    }
    let origin = parts.headers.get(ORIGIN).cloned();
    let hub = Arc::clone(hub);
    Box::pin(async move {
        let mut answer = match hub.origins.preflight(&parts) {
            Some(leave) => counted(&hub, leave),
            None => api::answer(Arc::clone(&hub), Request::from_parts(parts, body)).await?,
        };
        hub.origins.mark(origin.as_ref(), answer.headers_mut());
        Ok(answer)
    })
}

/// Why a request is not looked at any further, and its connection is closed.
fn refusal(parts: &Parts) -> Option<Problem> {
    if !api::head_of(parts).names_its_host() {
        return Some(Problem::new(Kind::Head, "a request has one Host field, which is a host and perhaps a port"));
    }
    // What follows may be meant for the other end.
    let is_tunnel = parts.method == Method::CONNECT;
    is_tunnel.then(|| Problem::new(Kind::Method, "the hub makes no tunnels").allowing("GET, HEAD, POST, DELETE"))
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
