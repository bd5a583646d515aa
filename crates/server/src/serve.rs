use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidewire_auth::KeyError;
use tidewire_core::TrustedProxies;
use tidewire_engine::{Engine, EngineConfig, Opening, StartError};
use tidewire_log::{
    Damage, EventLog, FileLog, FileLogConfig, LOG_FILES_MAX, MemoryLog, MemoryLogConfig, OnDamage, OpenError, RealDisk,
    Recovery, Reports, SystemClock, Tail,
};
use tidewire_topic::BaseUrlError;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::AdminListener;
use crate::config::{Config, Durability};
use crate::connection::{self, HEAD_BYTES_MAX};
use crate::hub::{Hub, Phase};
use crate::listening::{HandedIn, HandedInError, ListenError, Places};
use crate::shutdown::{Shutdown, Stopper, shutdown};
use crate::stream::Admissions;
use crate::system::Wanted;
use crate::tls::{Tls, TlsError};
use crate::{admin, liveness, notify, reload, system, telemetry};

/// Files of the log that may be open beside those that it holds: those that are written, and two for each read
/// that is under way.
const LOG_FILES_IN_USE: u64 = 64;
/// How long after the drain the shards may take to end.
const SHARDS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long requests under way may take when the streams have ended.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the hub may take to end, beyond `drain_delay` and `drain_timeout`, for what is under way then: streams in
/// the middle of an event, requests, and what is to be synced.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the hub did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The log's folder cannot be made.
    #[error("failed to make the folder {} (data_dir)", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("failed to open the log in {} (data_dir)", folder.display())]
    Log {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The key is none.
    #[error("failed to use the key (key_file)")]
    Key(#[from] KeyError),
    /// The certificate cannot be used.
    #[error("failed to begin with TLS")]
    Tls(#[from] TlsError),
    /// The URL that patterns are relative to is none.
    #[error("failed to use the hub's URL (public_url)")]
    PublicUrl(#[from] BaseUrlError),
    /// The shards did not start.
    #[error("failed to serve streams (listen)")]
    Engine(#[from] StartError),
    /// A Unix socket, or an address of the admin listener, cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A socket that was handed in cannot be used.
    #[error("failed to use what was handed in")]
    HandedIn(#[from] HandedInError),
    /// Threads or signals are not to be had.
    #[error("failed to {what}")]
    System {
        /// What failed.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A second signal came before the hub had stopped.
    #[error("stopped at once by a second signal; what was under way is not finished")]
    Interrupted,
    /// What was under way took too long.
    #[error("not stopped within {STOP_TIMEOUT:?}; what was under way is not finished")]
    Late,
}

fn system_error(what: &'static str) -> impl FnOnce(io::Error) -> ServeError {
    move |source| ServeError::System { what, source }
}

/// Runs the hub until it is told to stop by `SIGTERM` or `SIGINT`, and tells on `out` in plain
/// lines what is where. `on_damage` says what becomes of a log that cannot be opened as it is.
///
/// # Errors
/// When the log cannot be opened, an address cannot be listened on, or the hub is stopped by a
/// second signal before it is done.
pub fn serve(config: &Config, on_damage: OnDamage, out: &mut dyn Write) -> Result<(), ServeError> {
    telemetry::start(config.log_level, config.log_format)
        .map_err(system_error("start the thread that tells of requests"))?;
    let handed_in = HandedIn::take(config.dev)?;
    let open_files = system::raise_open_files();
    system::check_backlog();
    let runtime = Runtime::new().map_err(system_error("start the threads that serve requests"))?;
    // Before all that takes time: it ends who does not listen to it.
    let hang_up =
        runtime.block_on(async { signal(SignalKind::hangup()) }).map_err(system_error("be told of signals"))?;
    let told = Told(out);
    let ended = run(config, on_damage, open_files, handed_in, &runtime, hang_up, told);
    // Reads of the log may still wait for a disk.
    runtime.shutdown_background();
    telemetry::flush();
    ended
}

fn run(
    config: &Config,
    on_damage: OnDamage,
    open_files: u64,
    handed_in: HandedIn,
    runtime: &Runtime,
    hang_up: Signal,
    mut told: Told<'_>,
) -> Result<(), ServeError> {
    let retention_bytes = reload::retention_bytes(config);
    let log_files = LOG_FILES_MAX as u64 + LOG_FILES_IN_USE;
    let places = config.listen.iter().count();
    let wanted =
        Wanted { shards: config.shards, places, streams: config.max_streams, connections: config.max_connections };
    let handshakes = if config.tls.is_some() { system::handshakes(open_files).min(config.max_connections) } else { 0 };
    let shares = system::share_open_files(open_files.saturating_sub(handshakes as u64), log_files, wanted);
    if let Some(asked) = config.max_streams.filter(|&asked| asked > shares.streams) {
        tracing::warn!(asked, allowed = shares.streams, "max_streams is more than open files allow");
    }
    let tls = config.tls.as_ref().map(Tls::new).transpose()?.map(Arc::new);
    let log = open_log(config, on_damage, retention_bytes, &mut told)?;
    let tail = Arc::new(Tail::new(config.tail_bytes));
    log.follow(tail.follower());
    let hub = Hub::new(config, Arc::clone(&log), Arc::clone(&tail), shares.connections, random());
    let hub = Arc::new(hub.over(tls, handshakes));
    let (stopper, stop) = shutdown();
    let mode = config.listen_mode;
    let admin_places = Places::open("admin_listen", &config.admin_listen, handed_in.admin, mode)?;
    let (admin, mut signals) = runtime.block_on(async {
        let admin = admin_places.places.iter().map(AdminListener::open).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, ServeError>((admin, Signals::install(hang_up)?))
    })?;
    let places = Places::open("listen", &config.listen, handed_in.public, mode)?;
    let url_of = |address| config.public_url.clone().unwrap_or_else(|| config.url_of(address));
    if places.tcp().is_none_or(|address| address.port() != 0) {
        reload::put(&hub, config, &url_of(places.tcp()))?;
    }
    let engine_config = EngineConfig {
        listen: places.places.clone(),
        shards: config.shards,
        heartbeat: config.heartbeat,
        stall_timeout: config.stall_timeout,
        head_timeout: config.head_timeout,
        decide_timeout: config.decide_timeout,
        head_bytes_max: HEAD_BYTES_MAX,
        max_streams: shares.streams,
        max_streams_per_address: config.max_streams_per_address,
        max_sockets: shares.sockets,
        introducers: if config.proxy_protocol { config.trusted_proxies.clone() } else { TrustedProxies::default() },
        opening: if hub.tls.is_some() { Opening::Handshake } else { Opening::Head },
        ..EngineConfig::default()
    };
    let engine = start_engine(engine_config, &hub, stop.clone(), runtime)?;
    let url = url_of(engine.addresses().first().copied());
    reload::put(&hub, config, &url)?;
    runtime.spawn(liveness::watch(Arc::clone(&hub), config.stuck_after, stop.clone()));
    if let Some(tls) = &hub.tls {
        runtime.spawn(Arc::clone(tls).watch(stop.clone()));
    }
    let admin_addresses: Vec<_> = admin.iter().filter_map(AdminListener::address).collect();
    admin::start(runtime, &hub, admin, stop);
    hub.enter(Phase::Serving);
    told.addresses(config, engine.addresses(), &places.paths, &admin_addresses, &admin_places.paths);
    notify::tell(notify::State::Ready);
    runtime.block_on(async {
        let mut config = config.clone();
        while signals.next().await == Wish::Reload {
            tokio::select! {
                reread = reload::reload(&hub, config.clone(), &url) => config = reread,
                // A file that is read, or the log, may wait for a disk.
                () = signals.stop() => break,
            }
        }
        tracing::info!("stopping");
        notify::tell(notify::State::Stopping);
        hub.enter(Phase::Stopping);
        tokio::select! {
            ended = stop_all(&config, &hub, engine, stopper, log) => ended,
            () = signals.stop() => Err(ServeError::Interrupted),
        }
    })
}

fn open_log(
    config: &Config,
    on_damage: OnDamage,
    retention_bytes: u64,
    told: &mut Told<'_>,
) -> Result<Arc<dyn EventLog>, ServeError> {
    let folder = || config.data_dir.clone();
    let disk = RealDisk::new(&config.data_dir).map_err(|source| ServeError::Folder { folder: folder(), source })?;
    let not_opened = |source| ServeError::Log { folder: folder(), source };
    let durability = match config.durability {
        Durability::Commit => tidewire_log::Durability::Commit,
        Durability::Os => tidewire_log::Durability::Os,
        Durability::Memory => return open_memory_log(config, disk, on_damage, told).map_err(not_opened),
    };
    let log_config = FileLogConfig {
        segment_bytes: config.segment_bytes,
        retention_bytes,
        append_queue_bytes: config.append_queue_bytes,
        tail_bytes: config.tail_bytes as u64,
        idempotence_window: config.idempotence_window,
        retention_age: config.retention_age,
        retention_rules: config.retention_rules.clone(),
        retention_catch_up: config.retention_catch_up,
        erase_within: config.erase_within,
        durability,
        boot_id: system::boot_id(),
        scrub_rate: config.scrub_rate,
        reports: Reports::to(report_damage),
        on_damage,
    };
    let (log, recovery) = FileLog::open(disk, &log_config, Arc::new(SystemClock)).map_err(not_opened)?;
    tell_recovery(&recovery, config, told);
    Ok(Arc::new(log))
}

/// Says what the start found.
fn tell_recovery(recovery: &Recovery, config: &Config, told: &mut Told<'_>) {
    let place = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let place = place.display();
    if recovery.created {
        told.line(&format!("data in {place}, a new log"));
    } else {
        let files = if recovery.segments == 1 { "file" } else { "files" };
        told.line(&format!("data in {place}, {} events in {} {files}", recovery.records, recovery.segments));
    }
    if recovery.cut_bytes > 0 {
        let who = if config.durability == Durability::Commit { "; nobody was told of them" } else { "" };
        told.line(&format!("cut {} bytes that a crash left half written{who}", recovery.cut_bytes));
    }
    for salvaged in &recovery.salvaged {
        tracing::warn!(%salvaged, "salvaged");
        told.line(&format!("salvage: {salvaged}"));
    }
}

fn report_damage(damage: &Damage) {
    let Damage { file, from_byte, to_byte, .. } = damage;
    tracing::error!(
        file,
        from_byte,
        to_byte,
        lost = damage.lost(),
        "the log is damaged: readers of what lay there get a gap; put the file back from a copy to have it again"
    );
}

fn open_memory_log(
    config: &Config,
    disk: RealDisk,
    on_damage: OnDamage,
    told: &mut Told<'_>,
) -> Result<Arc<dyn EventLog>, OpenError> {
    let log_config = MemoryLogConfig {
        memory_bytes: config.memory_bytes,
        idempotence_window: config.idempotence_window,
        idempotence_entries: config.idempotence_entries,
        retention_age: config.retention_age,
        retention_rules: config.retention_rules.clone(),
        retention_catch_up: config.retention_catch_up,
        on_damage,
    };
    told.line("events are in memory only, and a restart forgets them");
    Ok(Arc::new(MemoryLog::open(disk, &log_config, Arc::new(SystemClock))?))
}

fn start_engine(config: EngineConfig, hub: &Arc<Hub>, stop: Shutdown, runtime: &Runtime) -> Result<Engine, ServeError> {
    let threads = runtime.handle().clone();
    let taker = Arc::clone(hub);
    let engine = Engine::start(
        config,
        Arc::clone(&hub.log),
        Arc::clone(&hub.tail),
        Arc::new(Admissions(Arc::clone(hub))),
        Box::new(move |socket, bytes, peer| connection::take_over(&taker, &stop, &threads, socket, bytes, peer)),
    )?;
    if hub.engine.set(engine.handle()).is_err() {
        unreachable!("the engine is started once");
    }
    Ok(engine)
}

/// Waits until nobody is sent here any more, ends streams, finishes requests, and commits what was appended.
async fn stop_all(
    config: &Config,
    hub: &Hub,
    engine: Engine,
    stopper: Stopper,
    log: Arc<dyn EventLog>,
) -> Result<(), ServeError> {
    if !config.drain_delay.is_zero() {
        tokio::time::sleep(config.drain_delay).await;
    }
    hub.enter(Phase::Draining);
    stopper.drain();
    let over = config.drain_timeout;
    let ended = async {
        let streams = tokio::task::spawn_blocking(move || {
            engine.drain(over);
            engine.stop();
        });
        let streams = within(over.map(|over| over + SHARDS_TIMEOUT), streams).await;
        match &streams {
            Some(Ok(())) => tracing::debug!("streams have ended"),
            Some(Err(error)) => tracing::error!(%error, "streams did not end well"),
            None => tracing::error!("streams did not end in time"),
        }
        if tokio::time::timeout(REQUESTS_TIMEOUT, stopper.stop()).await.is_err() {
            tracing::warn!("some requests were not finished in time");
        }
        tracing::debug!("requests have ended");
        if let Err(error) = tokio::task::spawn_blocking(move || log.close()).await {
            tracing::error!(%error, "the log did not close well");
        }
        tracing::debug!("the log is closed");
        // Else a shard is stuck, and its streams are cut.
        streams.map(|_| ())
    };
    within(over.map(|over| over + STOP_TIMEOUT), ended).await.flatten().ok_or(ServeError::Late)
}

/// What comes of it, if it comes in time.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Stop,
    /// To read the configuration again.
    Reload,
}

/// The signals that the hub listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install(hang_up: Signal) -> Result<Signals, ServeError> {
        let install = |kind| signal(kind).map_err(system_error("be told of signals"));
        Ok(Signals {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hang_up,
        })
    }

    async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.hang_up.recv() => Wish::Reload,
        }
    }

    /// Waits to be told to stop: a hub that stops reads nothing again.
    async fn stop(&mut self) {
        while self.next().await != Wish::Stop {}
    }
}

/// Where the hub tells what is where.
struct Told<'a>(&'a mut dyn Write);

impl Told<'_> {
    /// A reader that is gone is no reason not to serve.
    fn line(&mut self, text: &str) {
        let written = writeln!(self.0, "{text}").and_then(|()| self.0.flush());
        if let Err(error) = written {
            tracing::debug!(%error, "standard output is closed");
        }
    }

    fn addresses(
        &mut self,
        config: &Config,
        addresses: &[SocketAddr],
        paths: &[String],
        admin_addresses: &[SocketAddr],
        admin_paths: &[String],
    ) {
        if config.dev {
            self.line("development mode: anyone on this machine may read and publish");
        }
        let urls: Vec<_> = addresses.iter().map(|address| config.url_of(Some(*address))).collect();
        if let Some(url) = urls.first() {
            self.line(&format!("page at {}/", url.as_str()));
        }
        admin_addresses.iter().for_each(|address| self.line(&format!("admin on http://{address}")));
        admin_paths.iter().for_each(|path| self.line(&format!("admin on {path}")));
        urls.iter().for_each(|url| self.line(&format!("listening on {}", url.as_str())));
        paths.iter().for_each(|path| self.line(&format!("listening on {path}")));
    }
}

/// The standard library's own source of randomness, which seeds its hash maps.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
