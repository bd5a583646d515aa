use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tidewire_auth::Verifier;
use tidewire_core::TrustedProxies;
use tidewire_engine::EngineHandle;
use tidewire_log::{EventLog, Tail};
use tidewire_topic::BaseUrl;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::api::{Bodies, publish};
use crate::config::Config;
use crate::cors::AllowedOrigins;
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::request_log::RequestLog;
use crate::stream::StreamHeads;
use crate::tls::Tls;

/// Reads of the log that may go on at a time, each on a thread that may wait.
const READS_MAX: usize = 4;

/// What every request needs.
pub(crate) struct Hub {
    live: RwLock<Arc<Live>>,
    /// A request's body, in bytes.
    pub(crate) body_bytes: usize,
    /// What the bodies under way have of memory.
    pub(crate) bodies: Arc<Bodies>,
    /// How long a part of a request's body may take.
    pub(crate) body_timeout: Duration,
    /// How long a connection may stand idle between two requests.
    pub(crate) idle_timeout: Duration,
    /// How many requests there may be on a connection.
    pub(crate) connection_requests: usize,
    /// How long a client may take nothing of an answer.
    pub(crate) stall_timeout: Duration,
    /// No stream is silent for longer.
    pub(crate) heartbeat: Duration,
    /// Requests that a client may have under way on an HTTP/2 connection.
    pub(crate) http2_max_streams: u32,
    pub(crate) log: Arc<dyn EventLog>,
    /// The log's folder.
    pub(crate) data_dir: PathBuf,
    pub(crate) tail: Arc<Tail>,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) streams: StreamHeads,
    pub(crate) metrics: Metrics,
    pub(crate) request_log: RequestLog,
    pub(crate) reads: Arc<Semaphore>,
    /// Places for connections that are not streams.
    pub(crate) connections: Arc<Semaphore>,
    /// Places for handshakes.
    pub(crate) handshakes: Arc<Semaphore>,
    /// Held while it is decided about a stream for which that takes long.
    pub(crate) deciding: Arc<Semaphore>,
    /// Empty until the shards run.
    pub(crate) engine: OnceLock<EngineHandle>,
    pub(crate) liveness: Liveness,
    /// Where the public listener speaks TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    phase: AtomicU8,
}

/// What a request is held to and a hub that runs takes other values for.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) access: Access,
    pub(crate) limits: publish::Limits,
    pub(crate) origins: AllowedOrigins,
}

impl Live {
    pub(crate) fn new(config: &Config, verifier: Option<Verifier>, base: Option<BaseUrl>) -> Live {
        Live {
            access: Access { anonymous_reading: config.anonymous, anonymous_publishing: config.dev, verifier, base },
            limits: publish::Limits { event_bytes: config.event_bytes, batch_events: config.batch_events },
            origins: config.cors_origins.clone(),
        }
    }
}

/// Where the hub is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Starting,
    Serving,
    /// It says that it is not ready, and goes on as before.
    Stopping,
    /// It ends streams, and connections after the answer that they wait for.
    Draining,
}

impl Hub {
    pub(crate) fn new(
        config: &Config,
        log: Arc<dyn EventLog>,
        tail: Arc<Tail>,
        connections_max: usize,
        jitter_seed: u64,
    ) -> Hub {
        Hub {
            live: RwLock::new(Arc::new(Live::new(config, None, None))),
            body_bytes: config.body_bytes,
            bodies: Bodies::new(config.bodies_in_flight_bytes),
            body_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            connection_requests: config.connection_requests,
            stall_timeout: config.stall_timeout,
            heartbeat: config.heartbeat,
            http2_max_streams: config.http2_max_streams,
            log,
            data_dir: config.data_dir.clone(),
            tail,
            trusted_proxies: config.trusted_proxies.clone(),
            streams: StreamHeads::new(config.heartbeat, config.retry, jitter_seed),
            metrics: Metrics::default(),
            request_log: RequestLog::new(config.request_log),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            connections: Arc::new(Semaphore::new(connections_max)),
            handshakes: Arc::new(Semaphore::new(0)),
            deciding: Arc::new(Semaphore::new(1)),
            engine: OnceLock::new(),
            liveness: Liveness::default(),
            tls: None,
            phase: AtomicU8::new(Phase::Starting as u8),
        }
    }

    /// What holds now.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What holds from the next request on.
    pub(crate) fn set_live(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// The hub over TLS, if there is any, with so many handshakes at a time.
    pub(crate) fn over(self, tls: Option<Arc<Tls>>, handshakes: usize) -> Hub {
        Hub { tls, handshakes: Arc::new(Semaphore::new(handshakes)), ..self }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Whether connections are to end with the next answer: who has another request goes elsewhere with it.
    pub(crate) fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Draining as u8
    }

    /// Why the hub is not to be given requests, if it is not.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Starting as u8 => Some("the hub is starting"),
            phase if phase >= Phase::Stopping as u8 => Some("the hub is stopping"),
            _ if !self.log.is_writable() => Some("the log cannot be written"),
            _ if self.liveness.stuck().is_some() => Some("the hub is stuck"),
            _ => None,
        }
    }
}
