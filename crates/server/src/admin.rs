//! The admin listener: health and metrics.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use socket2::SockRef;
use tidewire_engine::Listen;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::api::Answer;
use crate::connection;
use crate::hub::Hub;
use crate::listening::{ListenAddress, ListenError};
use crate::metrics;
use crate::problem::{Kind, Problem};
use crate::shutdown::Shutdown;

/// Connections to the admin listener at a time.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// How long to wait when a connection cannot be accepted, for want of descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener for health and metrics.
pub(crate) enum AdminListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AdminListener {
    /// To be called within the runtime.
    pub(crate) fn open(place: &Listen) -> Result<AdminListener, ListenError> {
        match place {
            Listen::Address(address) => AdminListener::bind(*address).map_err(|source| ListenError::Address {
                address: ListenAddress::Tcp(*address),
                key: "admin_listen",
                source,
            }),
            Listen::Socket(socket) => AdminListener::on(socket).map_err(ListenError::Socket),
        }
    }

    fn bind(address: SocketAddr) -> io::Result<AdminListener> {
        let listener = std::net::TcpListener::bind(address)?;
        AdminListener::on(&listener.into())
    }

    fn on(socket: &OwnedFd) -> io::Result<AdminListener> {
        let socket = socket.try_clone()?;
        let options = SockRef::from(&socket);
        options.set_nonblocking(true)?;
        if options.local_addr()?.is_unix() {
            return UnixListener::from_std(socket.into()).map(AdminListener::Unix);
        }
        TcpListener::from_std(socket.into()).map(AdminListener::Tcp)
    }

    /// Its address, if it is one of TCP.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            AdminListener::Tcp(listener) => listener.local_addr().ok(),
            AdminListener::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            AdminListener::Tcp(listener) => listener.accept().await.map(|(socket, _)| Accepted::Tcp(socket)),
            AdminListener::Unix(listener) => listener.accept().await.map(|(socket, _)| Accepted::Unix(socket)),
        }
    }
}

/// Accepts connections until the shutdown begins, and holds it no longer.
pub(crate) fn start(runtime: &Runtime, hub: &Arc<Hub>, listeners: Vec<AdminListener>, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for listener in listeners {
        runtime.spawn(run(Arc::clone(hub), listener, Arc::clone(&places), shutdown.clone()));
    }
    drop(shutdown);
}

async fn run(hub: Arc<Hub>, listener: AdminListener, places: Arc<Semaphore>, shutdown: Shutdown) {
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return,
        };
        match accepted {
            Ok(socket) => {
                let (hub, shutdown) = (Arc::clone(&hub), shutdown.clone());
                tokio::spawn(async move {
                    let answer = |request: Request<_>| std::future::ready(answer(&hub, &request));
                    match socket {
                        Accepted::Tcp(socket) => connection::serve_plain(socket, &shutdown, answer).await,
                        Accepted::Unix(socket) => connection::serve_plain(socket, &shutdown, answer).await,
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn answer<B>(hub: &Hub, request: &Request<B>) -> Answer {
    let path = request.uri().path();
    if !matches!(path, "/health/live" | "/health/ready" | "/metrics") {
        return Problem::new(Kind::NotFound, format!("nothing is at {path}")).to_response();
    }
    if !matches!(request.method().as_str(), "GET" | "HEAD") {
        let detail = format!("{path} takes GET, HEAD, not {}", request.method());
        return Problem::new(Kind::Method, detail).allowing("GET, HEAD").to_response();
    }
    match (path, hub.unready()) {
        ("/metrics", _) => {
            let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let format = metrics::Format::accepted(accept);
            text(format.media_type(), Bytes::from(metrics::render(hub, format)))
        }
        ("/health/live", _) if let Some(thread) = hub.liveness.stuck() => {
            let detail = format!("{thread} has work, and has done nothing for stuck_after");
            Problem::new(Kind::Stuck, detail).to_response()
        }
        ("/health/ready", Some(reason)) => Problem::new(Kind::NotReady, reason).to_response(),
        _ => text("text/plain; charset=utf-8", Bytes::from_static(b"ok\n")),
    }
}

fn text(media_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Phase;
    use crate::testing::Bench;

    fn status(hub: &Hub, method: &str, path: &str) -> u16 {
        let request = Request::builder().method(method).uri(path).body(()).expect("a request");
        answer(hub, &request).status().as_u16()
    }

    #[test]
    fn ready_is_from_the_first_request_served_to_the_signal() {
        let hub = Bench::dev().hub;
        assert_eq!((status(&hub, "GET", "/health/live"), status(&hub, "GET", "/health/ready")), (200, 503));
        hub.enter(Phase::Serving);
        assert_eq!((status(&hub, "GET", "/health/live"), status(&hub, "HEAD", "/health/ready")), (200, 200));
        hub.enter(Phase::Stopping);
        assert_eq!((status(&hub, "GET", "/health/live"), status(&hub, "GET", "/health/ready")), (200, 503));
        hub.enter(Phase::Serving);
        hub.log.close();
        assert_eq!(hub.log.is_writable(), status(&hub, "GET", "/health/ready") == 200);
    }

    #[test]
    fn nothing_else_is_here() {
        let hub = Bench::dev().hub;
        assert_eq!(status(&hub, "GET", "/metrics"), 200);
        assert_eq!(status(&hub, "GET", "/"), 404);
        assert_eq!(status(&hub, "GET", "/api/v1/topics"), 404);
        assert_eq!(status(&hub, "POST", "/metrics"), 405);
    }
}
