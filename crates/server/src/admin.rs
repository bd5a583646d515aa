//! The admin listener: health and metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::api::Answer;
use crate::connection;
use crate::hub::Hub;
use crate::metrics;
use crate::problem::{Kind, Problem};
use crate::shutdown::Shutdown;

/// Connections to the admin listener at a time.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// How long to wait when a connection cannot be accepted, for want of descriptors above all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the shutdown begins.
pub(crate) async fn run(hub: Arc<Hub>, listener: TcpListener, shutdown: Shutdown) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted: std::io::Result<(TcpStream, SocketAddr)> = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return,
        };
        match accepted {
            Ok((socket, _)) => {
                let (hub, shutdown) = (Arc::clone(&hub), shutdown.clone());
                tokio::spawn(async move {
                    let answer = |request: Request<_>| std::future::ready(answer(&hub, &request));
                    connection::serve_plain(socket, &shutdown, answer).await;
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
