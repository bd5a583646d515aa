//! Figures that are kept elsewhere, read when somebody asks.

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use tidewire_core::GapReason;
use tidewire_engine::{EngineHandle, EngineStats, Lag};
use tidewire_log::{Durations, LogStats, MICROS_BUCKETS};

use super::Label;
use crate::api::{SSE, SSE_HTTP2};
use crate::hub::Hub;
use crate::tls::Tls;
use crate::{system, telemetry};

/// The figures as they stand.
pub(super) fn of(hub: &Hub) -> Registry {
    let mut registry = Registry::with_prefix("tidewire");
    add_hub(&mut registry, hub);
    add_disk(&mut registry, hub);
    add_log(&mut registry, &hub.log.stats());
    let engine = hub.engine.get();
    add_engine(&mut registry, &engine.map(EngineHandle::stats).unwrap_or_default());
    add_lag(&mut registry, engine.map(EngineHandle::lag).unwrap_or_default());
    if let Some(tls) = &hub.tls {
        add_tls(&mut registry, tls);
    }
    registry
}

fn add_hub(registry: &mut Registry, hub: &Hub) {
    let build: Family<Label, Gauge> = Family::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    registry.register("build_info", "1, and which version runs", build);
    let (first, head, tail_bytes) = {
        let tail = hub.tail.read();
        (tail.before().0, tail.head().0, tail.bytes())
    };
    gauge(registry, "tail_events", "Events in memory for streams", head.0 - first.0);
    registry.register_with_unit("tail", "Bytes in memory for streams", Unit::Bytes, whole(tail_bytes as u64));
    let free = hub.connections.available_permits() as u64;
    gauge(registry, "connection_places_free", "Connections that may still come, streams aside", free);
    let help = "Lines of requests that were not told, since whoever reads them is too slow";
    counter(registry, "request_lines_dropped", help, telemetry::dropped());
    let bodies = whole(hub.bodies.bytes() as u64);
    registry.register_with_unit(
        "bodies_in_flight",
        "Bytes of the requests' bodies that are under way",
        Unit::Bytes,
        bodies,
    );
    gauge(registry, "ready", "Whether the hub is ready for requests: 1 or 0", u64::from(hub.unready().is_none()));
    let is_live = u64::from(hub.liveness.stuck().is_none());
    gauge(registry, "live", "Whether every thread that has work does it: 1 or 0", is_live);
    gauge(registry, "log_writable", "Whether events can be appended: 1 or 0", u64::from(hub.log.is_writable()));
}

fn add_disk(registry: &mut Registry, hub: &Hub) {
    if let Some((size, free)) = system::file_system(&hub.data_dir) {
        registry.register_with_unit("disk", "Bytes of the file system that the log is on", Unit::Bytes, whole(size));
        let help = "Bytes of that file system that the hub may still use";
        registry.register_with_unit("disk_free", help, Unit::Bytes, whole(free));
    }
}

fn add_lag(registry: &mut Registry, lag: Lag) {
    // Each stream is looked at so often.
    gauge(registry, "streams_behind", "Streams that are owed events, when last looked at", lag.behind);
    let help = "Of those, streams that are served from disk, since they are behind the tail";
    gauge(registry, "streams_behind_tail", help, lag.older);
    let help = "Events that the stream which is furthest behind is behind, for whomever they are; if it is behind the \
                tail, at least";
    gauge(registry, "stream_lag_events_max", help, lag.events_max);
    let help = "How much older than the newest event the place is up to which the stream furthest behind was served";
    let seconds = ConstGauge::new(lag.ms_max as f64 / 1e3);
    registry.register("stream_lag_max_seconds", help, seconds);
}

fn add_engine(registry: &mut Registry, stats: &EngineStats) {
    gauge(registry, "streams", "Streams open", stats.streams);
    let transports: Family<Label, Gauge> = Family::default();
    let piped = stats.piped_streams;
    for (transport, streams) in [(SSE, stats.streams.saturating_sub(piped)), (SSE_HTTP2, piped)] {
        let label = [("transport", transport.to_owned())];
        transports.get_or_create(&label).set(i64::try_from(streams).unwrap_or(i64::MAX));
    }
    registry.register("transport_streams", "Streams open, by transport, as the API names it", transports);
    gauge(registry, "tls_streams", "Of the streams open, those in HTTP/1.1 over TLS", stats.tls_streams);
    counter(registry, "streams_begun", "Streams begun", stats.streams_begun);
    counter(registry, "streams_drained", "Streams ended because the hub stops", stats.streams_drained);
    let help = "Streams ended as they began, since the hub was stopping";
    counter(registry, "streams_turned_away", help, stats.streams_turned_away);
    counter(registry, "deliveries", "Events written whole to a stream", stats.deliveries);
    let sent = ConstCounter::new(stats.sent_bytes);
    registry.register_with_unit("sent", "Bytes written to streams", Unit::Bytes, sent);
    counter(registry, "writes", "Writes to streams", stats.writes);
    counter(registry, "short_writes", "Writes to streams that were not taken whole", stats.short_writes);
    counter(registry, "heartbeats", "Heartbeats written to silent streams", stats.heartbeats);
    counter(registry, "stalls", "Streams closed because their client took nothing", stats.stalls);
    counter(registry, "catch_up_reads", "Reads from the log for streams older than the tail", stats.catch_up_reads);
    counter(registry, "read_failures", "Reads from the log for streams that failed", stats.read_failures);
    counter(registry, "connections_accepted", "Connections accepted", stats.accepted);
    counter(registry, "accept_failures", "Connections that could not be accepted", stats.accept_failures);
    counter(registry, "accept_pauses", "Times that connections had to wait for want of room", stats.accept_pauses);
    counter(registry, "connections_handed_over", "Connections that were not streams at first", stats.handed_over);
    counter(
        registry,
        "connections_adopted",
        "Connections that turned into streams later, or whose handshake was over",
        stats.adopted,
    );
    counter(registry, "connections_refused", "Connections closed with an answer", stats.refused);
    let help = "Connections refused since too many waited for their place to be found";
    counter(registry, "undecided_refused", help, stats.undecided_refused);
    let help = "Connections refused since their place was not found in time";
    counter(registry, "undecided_timeouts", help, stats.undecided_timeouts);
    let gaps: Family<Label, Counter> = Family::default();
    for reason in GapReason::ALL {
        let label = [("reason", reason.as_str().to_owned())];
        gaps.get_or_create(&label).inc_by(stats.gaps[reason.index()]);
    }
    registry.register("gaps", "Gaps told to subscribers", gaps);
}

fn add_tls(registry: &mut Registry, tls: &Tls) {
    let figures = tls.figures();
    counter(registry, "tls_handshakes", "Handshakes after which TLS was agreed on", figures.handshakes());
    let failures: Family<Label, Counter> = Family::default();
    for (reason, count) in figures.failures() {
        failures.get_or_create(&[("reason", reason.to_owned())]).inc_by(count);
    }
    registry.register("tls_handshake_failures", "Connections on which TLS was not agreed on", failures);
    counter(registry, "tls_reloads", "Times that the certificate was read again", figures.reloads());
    let help = "Times that the certificate could not be read again, and the one before it stayed";
    counter(registry, "tls_reload_failures", help, figures.reload_failures());
    let help = "When the certificate's time is over, since the Unix epoch";
    registry.register_with_unit("tls_certificate_not_after", help, Unit::Seconds, whole(tls.not_after_s()));
}

fn add_log(registry: &mut Registry, stats: &LogStats) {
    gauge(registry, "log_events", "Events retained", stats.records);
    registry.register_with_unit("log", "Bytes retained", Unit::Bytes, whole(stats.bytes));
    let waiting = whole(stats.waiting_bytes);
    registry.register_with_unit("append_queue", "Bytes that wait to be committed", Unit::Bytes, waiting);
    gauge(registry, "log_segments", "Files of the log", stats.segments);
    counter(registry, "appended_events", "Events appended", stats.appended);
    counter(registry, "repeated_events", "Events answered with the id of an earlier one", stats.repeated);
    gauge(registry, "idempotence_entries", "Publishers' ids held", stats.idempotence_entries);
    counter(registry, "idempotence_evictions", "Publishers' ids let go for want of room", stats.idempotence_evictions);
    counter(registry, "trim_failures", "Old files of the log that could not be removed", stats.trim_failures);
    counter(registry, "index_failures", "Indexes of the log's files that could not be written", stats.index_failures);
    gauge(registry, "log_damaged_ranges", "Damaged ranges known in the log's files, up to 1000", stats.damaged_ranges);
    counter(registry, "log_scrub_passes", "How often all full files of the log were checked", stats.scrub_passes);
    let scrubbed = ConstCounter::new(stats.scrubbed_bytes);
    registry.register_with_unit("log_scrubbed", "Bytes of the log read to check them", Unit::Bytes, scrubbed);
    counter(registry, "log_erased", "Events and topics erased", stats.erased);
    gauge(registry, "log_tombstones", "Tombstones of what was erased, until retention removes it", stats.tombstones);
    let failures = stats.overwrite_failures;
    counter(registry, "overwrite_failures", "Bytes of what was erased that could not be overwritten yet", failures);
    let failed_syncs = "Syncs of the log that failed; nobody saw their events";
    counter(registry, "failed_syncs", failed_syncs, stats.failed_syncs);
    let seals = "Files of the log that were ended because they could not be written or synced";
    counter(registry, "log_seals", seals, stats.seals);
    let commit = "How long events took that were committed together, from the first one taken";
    registry.register_with_unit("commit", commit, Unit::Seconds, Histogram(stats.commits));
    registry.register_with_unit("sync", "How long syncing them took", Unit::Seconds, Histogram(stats.syncs));
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, whole(value));
}

fn whole(value: u64) -> ConstGauge {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

/// What the log counted by how long it took.
#[derive(Debug)]
struct Histogram(Durations);

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Histogram(Durations { count, micros, buckets }) = self;
        let bounds = MICROS_BUCKETS.iter().map(|&micros| seconds(micros)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(*buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(*micros), *count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
