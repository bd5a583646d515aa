//! Every limit of the hub: the one table by which refusals are counted and of which `docs/limits.md` is made.

use tidewire_log::{EventTypeError, PublisherIdError};
use tidewire_topic::{MatcherSetError, PatternError, TemplateError, TopicError};

use crate::problem::Kind;

/// How much there may be.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Most {
    /// What the key of the configuration says.
    Key,
    /// So many, always.
    Count(u64),
    /// So many bytes, always.
    Bytes(u64),
}

/// What becomes of one more.
#[cfg_attr(not(test), expect(dead_code, reason = "all of it is for the documentation, which a test makes"))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beyond {
    /// The problem, which is counted under the limit's name.
    Refused(Kind),
    /// The problem, counted under its own name only.
    Problem(Kind),
    /// What happens instead, and the metric that moves, if there is one.
    Else(&'static str, Option<&'static str>),
}

macro_rules! limits {
    ($($limit:ident $name:literal: $most:expr, $counted:literal, $beyond:expr, $cost:literal;)+) => {
        /// A limit: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Limit {
            $($limit,)+
        }

        impl Limit {
            /// Every limit, in the order of the table.
            pub(crate) const ALL: &[Limit] = &[$(Limit::$limit,)+];

            /// Its name: that of its key, if it has one.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Limit::$limit => $name,)+ }
            }

            /// What becomes of one more.
            pub(crate) fn beyond(self) -> Beyond {
                match self { $(Limit::$limit => $beyond,)+ }
            }

            /// How much there may be.
            #[cfg(test)]
            pub(crate) fn most(self) -> Most {
                match self { $(Limit::$limit => $most,)+ }
            }

            /// What is counted.
            #[cfg(test)]
            pub(crate) fn counted(self) -> &'static str {
                match self { $(Limit::$limit => $counted,)+ }
            }

            /// What so much of it costs, and whom.
            #[cfg(test)]
            pub(crate) fn cost(self) -> &'static str {
                match self { $(Limit::$limit => $cost,)+ }
            }
        }
    };
}

use Beyond::{Else, Problem, Refused};
#[cfg(test)]
use Most::{Bytes, Count, Key};

limits! {
    MaxStreams "max_streams": Key, "streams at a time", Refused(Kind::Streams),
        "an open file each, and about 200 bytes of memory";
    MaxStreamsPerAddress "max_streams_per_address": Key, "streams at a time from one address, or one /64 of IPv6",
        Refused(Kind::StreamsPerAddress), "8 bytes of memory for each stream, and about 40 for each address";
    MaxConnections "max_connections": Key, "connections at a time that are not streams", Refused(Kind::Connections),
        "an open file each, about 10 KB of memory, and that of a body while one is under way";
    TlsHandshakes "tls_handshakes": Count(crate::system::HANDSHAKES_MAX as u64),
        "handshakes of TLS at a time, or as many as `max_connections`, or one for each 32 files that may be open, if that is less",
        Else("Others wait to be accepted, and who says nothing has 1 s", Some("tidewire_accept_pauses_total")),
        "an open file each, and memory";
    Http2MaxStreams "http2_max_streams": Key, "requests and streams at a time on an HTTP/2 connection",
        Else("It is refused (`REFUSED_STREAM`), and its client may ask again", None), "about 1.5 KB of memory each";
    HeadTimeout "head_timeout": Key, "time that a request's head may take, and each part of its body",
        Refused(Kind::Timeout), "a slow client keeps a place for so long";
    IdleTimeout "idle_timeout": Key, "time that a connection is idle between two requests",
        Else("It is closed", None), "an idle client keeps a place for so long";
    ConnectionRequests "connection_requests": Key, "requests on a connection",
        Else("The last one's answer has `Connection: close`", Some("tidewire_connections_used_up_total")), "none that lasts";
    DecideTimeout "decide_timeout": Key, "time in which a stream's place in the log is sought, or its patterns read",
        Refused(Kind::Busy), "while a disk hangs, a place among `max_streams` for so long";
    StallTimeout "stall_timeout": Key, "time in which a stream's client takes nothing",
        Else("The stream is closed; its client resumes", Some("tidewire_stalls_total")),
        "a client that is gone keeps a place for so long";
    EventBytes "event_bytes": Key, "bytes of an event's data", Refused(Kind::EventBytes),
        "one write to each of its readers may have as much in hand";
    BodyBytes "body_bytes": Key, "bytes of a request's body", Refused(Kind::BodyBytes),
        "memory while it is under way";
    BodiesInFlightBytes "bodies_in_flight_bytes": Key, "bytes of the bodies that are under way", Refused(Kind::BodiesInFlight),
        "memory";
    BodyRate "body_rate": Bytes(crate::api::BODY_RATE_MIN), "bytes a second of a body, at least, beyond the time of a part",
        Problem(Kind::Timeout), "a slow client keeps its part of `bodies_in_flight_bytes` for so long";
    BatchEvents "batch_events": Key, "events in one request", Refused(Kind::BatchEvents),
        "they are committed together, and others wait for that";
    SegmentBytes "segment_bytes": Key, "bytes of an array of events, encoded", Refused(Kind::SegmentBytes),
        "disk: a file of that length is made ahead of need";
    AppendQueueBytes "append_queue_bytes": Key, "bytes that wait to be committed", Refused(Kind::Busy),
        "memory, while publishers are faster than the disk";
    TailBytes "tail_bytes": Key, "bytes of the newest events in memory",
        Else("The oldest are let go; who is further behind reads from disk", Some("tidewire_catch_up_reads_total")),
        "memory";
    RetentionBytes "retention_bytes": Key, "bytes of the log's files",
        Else("The oldest files go; readers who had not read them get a gap", Some("tidewire_gaps_total")), "disk";
    RetentionAge "retention_age": Key, "age of an event",
        Else("It goes; readers who had not read it get a gap", Some("tidewire_gaps_total")), "disk";
    MemoryBytes "memory_bytes": Key, "bytes of the log with `durability = \"memory\"`",
        Else("The oldest events go; readers who had not read them get a gap", Some("tidewire_gaps_total")), "memory";
    IdempotenceEntries "idempotence_entries": Key, "publishers' ids held with `durability = \"memory\"`",
        Else("The oldest are forgotten early", Some("tidewire_idempotence_evictions_total")), "about 100 bytes of memory each";
    HeadBytes "head_bytes": Bytes(crate::connection::HEAD_BYTES_MAX as u64), "bytes of a request's head",
        Refused(Kind::HeadBytes), "memory, up to `unfinished_heads` times a shard";
    TlsHeldBytes "tls_held_bytes": Bytes(tidewire_engine::TLS_HELD_BYTES_MAX as u64),
        "bytes of a stream over TLS that its client has not taken, beyond what the system holds",
        Else("Nothing more is taken from the log for it before they are", Some("tidewire_short_writes_total")),
        "memory";
    HeadFields "head_fields": Count(tidewire_engine::HEADERS_MAX as u64), "fields of a request's head",
        Problem(Kind::HeadBytes), "none that lasts";
    UnfinishedHeads "unfinished_heads":
        Count(tidewire_engine::EngineConfig::default().head_buffers_max as u64),
        "heads that are not whole yet, or long, for each of the `shards`", Problem(Kind::Timeout),
        "the oldest gives way; `head_bytes` of memory each at most";
    UndecidedHeads "undecided_heads": Count(tidewire_engine::EngineConfig::default().undecided_max as u64),
        "streams whose place in the log is being sought, for each of the `shards`", Refused(Kind::Busy),
        "their heads in memory";
    QueryParameters "query_parameters": Count(crate::query::PARAMETERS_MAX as u64), "parameters in a query and a form, together",
        Refused(Kind::Query), "none that lasts";
    Matchers "matchers": Count(tidewire_topic::MATCHERS_MAX as u64), "topics, patterns and templates of a stream or a right, together",
        Refused(Kind::Matchers), "memory, once for all streams that ask for the same";
    Types "types": Count(tidewire_topic::MATCHERS_MAX as u64), "types of a stream", Refused(Kind::Matchers),
        "memory, once for all streams that ask for the same";
    MatcherWeight "matcher_weight": Count(tidewire_topic::MATCHER_WEIGHT_MAX as u64),
        "what patterns and templates of a stream or a right [weigh](api.md#weight) together", Refused(Kind::Matchers),
        "time for each event that they may match: about 0.25 ms for each 200 of it and each 1,000 bytes of topics, at worst";
    TopicBytes "topic_bytes": Bytes(tidewire_topic::TOPIC_BYTES_MAX as u64), "bytes of a topic", Refused(Kind::Topic),
        "disk and memory with each event";
    TypeBytes "type_bytes": Bytes(tidewire_log::EVENT_TYPE_BYTES_MAX as u64), "bytes of a type", Refused(Kind::Type),
        "disk and memory with each event";
    PublisherIdBytes "publisher_id_bytes": Bytes(tidewire_log::PUBLISHER_ID_BYTES_MAX as u64), "bytes of a publisher's id",
        Refused(Kind::Id), "disk and memory with each event";
    EventTopics "event_topics": Count(tidewire_log::TOPICS_MAX as u64), "topics of an event", Refused(Kind::EventTopics),
        "an entry each in the log's index";
    EventTopicsBytes "event_topics_bytes": Bytes(tidewire_log::TOPICS_BYTES_MAX as u64), "bytes of an event's topics together",
        Refused(Kind::EventTopics), "time for each stream whose patterns may match one of them";
    PatternBytes "pattern_bytes": Bytes(tidewire_topic::PATTERN_BYTES_MAX as u64), "bytes of a pattern", Refused(Kind::Pattern),
        "memory, once for all streams that ask for the same";
    PatternWildcards "pattern_wildcards": Count(tidewire_topic::RUNS_MAX as u64),
        "wildcards and names in a part of a pattern's URL", Problem(Kind::Pattern), "time for each event that it may match";
    TemplateBytes "template_bytes": Bytes(tidewire_topic::TEMPLATE_BYTES_MAX as u64), "bytes of a template", Refused(Kind::Pattern),
        "memory, once for all streams that ask for the same";
    TemplateExpressions "template_expressions": Count(tidewire_topic::RUNS_MAX as u64),
        "expressions (`{…}`) in a template", Refused(Kind::Pattern), "time for each event that it may match";
    TemplateVariables "template_variables": Count(tidewire_topic::TEMPLATE_VARIABLES_MAX as u64),
        "variables in an expression", Problem(Kind::Pattern), "time for each event that it may match";
    RegexBytes "regex_bytes": Bytes(tidewire_topic::REGEX_TEXT_BYTES_MAX as u64), "bytes of a regular expression",
        Problem(Kind::Pattern), "time to read it, on a thread that delivers nothing";
    RegexProgramBytes "regex_program_bytes": Bytes(tidewire_topic::REGEX_BYTES_MAX as u64),
        "bytes of a regular expression's program", Problem(Kind::Pattern), "memory, once for all streams that ask for the same";
    TokenBytes "token_bytes": Bytes(tidewire_auth::TOKEN_BYTES_MAX as u64), "bytes of a token", Refused(Kind::TokenInvalid),
        "time to verify it";
    PageEntries "page_entries": Count(crate::api::PAGE_MAX as u64), "entries asked for on one page", Problem(Kind::Page),
        "none that lasts";
    Tombstones "tombstones": Count(tidewire_log::TOMBSTONES_MAX as u64),
        "tombstones of what was erased, until retention has removed it", Refused(Kind::Tombstones), "about 100 bytes of memory each";
    TombstoneTopicsBytes "tombstone_topics_bytes": Bytes(tidewire_log::TOMBSTONE_TOPICS_BYTES_MAX as u64),
        "bytes of the topics that were erased, so long", Problem(Kind::Tombstones), "memory";
    LastIdBytes "last_id_bytes": Bytes(tidewire_core::LAST_ID_BYTES_MAX as u64), "bytes of a last id",
        Else("A gap (`unknown`)", Some("tidewire_gaps_total")), "none that lasts";
    LastEvents "last_events": Count(tidewire_log::LAST_EVENTS_MAX), "events looked at for `from=-<n>`",
        Else("A gap (`limit`)", Some("tidewire_gaps_total")), "reading from disk, on a thread that delivers nothing";
    GapQuoteBytes "gap_quote_bytes": Bytes(tidewire_core::QUOTE_BYTES_MAX as u64),
        "bytes that a gap quotes of what was asked", Else("It is cut", None), "memory until it is written";
    TopicLooks "topic_looks": Count(tidewire_log::TOPIC_LOOKS_MAX), "events and topics of files looked at for a page of topics",
        Else("A shorter page, with `next`", None), "reading from disk, on a thread that delivers nothing";
    ConnectionLooks "connection_looks": Count(crate::api::CONNECTION_LOOKS_MAX as u64),
        "streams looked at for a page of connections",
        Else("A shorter page, with `next`", None), "a shard looks at 1,000 of them between two rounds of delivery";
    ConnectionPageBytes "connection_page_bytes": Bytes(crate::api::CONNECTION_TEXT_BYTES_MAX as u64),
        "bytes of what the streams of a page ask for", Else("A shorter page, with `next`", None), "memory until it is answered";
    VisitBytes "visit_bytes": Bytes(tidewire_core::VISIT_BYTES_MAX as u64), "bytes written to a stream at a time",
        Else("Others have their turn first", None), "a buffer a shard";
    PipeBytes "pipe_bytes": Bytes(tidewire_engine::PIPE_BYTES_MAX as u64),
        "bytes written to a stream over HTTP/2 that its client has not taken",
        Else("The rest waits in the log", Some("tidewire_short_writes_total")),
        "memory, and as much again on the way to the connection";
    Http2WindowBytes "http2_window_bytes": Bytes(crate::connection::http2::WINDOW_BYTES as u64),
        "bytes of a body over HTTP/2 that nobody has read yet", Else("Its client waits", None), "memory";
    Http2ConnectionWindowBytes "http2_connection_window_bytes":
        Bytes(crate::connection::http2::CONNECTION_WINDOW_BYTES as u64),
        "the same of all bodies of a connection", Else("Its client waits", None), "memory";
    Http2PendingResets "http2_pending_resets": Count(crate::connection::http2::PENDING_RESETS_MAX as u64),
        "requests of an HTTP/2 connection that are reset before they are looked at",
        Else("The connection ends (`ENHANCE_YOUR_CALM`)", None), "time of one thread";
    Http2Malformed "http2_malformed": Count(crate::connection::http2::MALFORMED_MAX as u64),
        "malformed requests of an HTTP/2 connection", Else("The connection ends (`ENHANCE_YOUR_CALM`)", None),
        "time of one thread";
    CatchUpReads "catch_up_reads": Count(tidewire_engine::JOBS_A_SHARD_MAX as u64),
        "reads from disk for streams at a time, for each of the `shards`", Else("Others wait", None),
        "`visit_bytes` of memory each";
    LogFiles "log_files": Count(tidewire_log::LOG_FILES_MAX as u64), "full files of the log and indexes that are open",
        Else("One that was not used lately is closed", None), "an open file each";
    DamagedRanges "damaged_ranges": Count(tidewire_log::DAMAGED_RANGES_MAX as u64), "damaged ranges of the log that are remembered",
        Else("Others are told when they are met", Some("tidewire_log_damaged_ranges")), "memory";
    RetentionRules "retention_rules": Count(tidewire_log::RETENTION_RULES_MAX as u64), "rules of retention",
        Else("The configuration is refused", None), "time for each topic that is read";
    CorsOrigins "cors_origins": Count(crate::cors::ORIGINS_MAX as u64), "origins of `cors_origins`",
        Else("The configuration is refused", None), "memory";
    RequestLogTargetBytes "request_log_target_bytes": Bytes(crate::request_log::TARGET_BYTES_MAX as u64),
        "bytes of a request's target that are told of it", Else("It is cut", None), "the length of a line";
    RequestLogSubjectBytes "request_log_subject_bytes": Bytes(crate::request_log::SUBJECT_BYTES_MAX as u64),
        "bytes of a token's subject that are told of it", Else("It is cut", None), "the length of a line";
    RequestLines "request_lines": Count(crate::telemetry::WAITING_MAX as u64), "lines of requests that wait to be written",
        Else("The line is dropped", Some("tidewire_request_lines_dropped_total")), "memory, some 300 bytes each, and 2 KB at most";
    AdminConnections "admin_connections": Count(crate::admin::CONNECTIONS_MAX as u64), "connections to the admin listener",
        Else("Others wait", None), "an open file each";
    RepeatedWarnings "repeated_warnings": Count(crate::telemetry::REPEATS_MAX as u64), "warnings and errors of one kind in a minute",
        Else("They are counted, and told with the next one after it", None), "none that lasts";
}

/// Whether an error says that a limit was passed, and which.
pub(crate) trait MayPassLimit {
    fn limit(&self) -> Option<Limit>;
}

impl From<TopicError> for crate::problem::Problem {
    fn from(error: TopicError) -> crate::problem::Problem {
        crate::problem::Problem::new(Kind::Topic, error.to_string()).past(error.limit())
    }
}

impl MayPassLimit for TopicError {
    fn limit(&self) -> Option<Limit> {
        matches!(self, TopicError::TooLong { .. }).then_some(Limit::TopicBytes)
    }
}

impl From<EventTypeError> for crate::problem::Problem {
    fn from(error: EventTypeError) -> crate::problem::Problem {
        crate::problem::Problem::new(Kind::Type, error.to_string()).past(error.limit())
    }
}

impl MayPassLimit for EventTypeError {
    fn limit(&self) -> Option<Limit> {
        matches!(self, EventTypeError::TooLong { .. }).then_some(Limit::TypeBytes)
    }
}

impl From<PublisherIdError> for crate::problem::Problem {
    fn from(error: PublisherIdError) -> crate::problem::Problem {
        crate::problem::Problem::new(Kind::Id, error.to_string()).past(error.limit())
    }
}

impl MayPassLimit for PublisherIdError {
    fn limit(&self) -> Option<Limit> {
        matches!(self, PublisherIdError::TooLong { .. }).then_some(Limit::PublisherIdBytes)
    }
}

impl MayPassLimit for PatternError {
    fn limit(&self) -> Option<Limit> {
        matches!(self, PatternError::TooLong { .. }).then_some(Limit::PatternBytes)
    }
}

impl MayPassLimit for TemplateError {
    fn limit(&self) -> Option<Limit> {
        match self {
            TemplateError::TooLong { .. } => Some(Limit::TemplateBytes),
            TemplateError::TooMany => Some(Limit::TemplateExpressions),
            _ => None,
        }
    }
}

impl MayPassLimit for MatcherSetError {
    fn limit(&self) -> Option<Limit> {
        match self {
            MatcherSetError::TooMany { .. } => Some(Limit::Matchers),
            MatcherSetError::TooHeavy { .. } => Some(Limit::MatcherWeight),
            MatcherSetError::Empty => None,
        }
    }
}

impl Kind {
    /// The limit that every problem of this kind means, if there is one.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Kind::Streams => Some(Limit::MaxStreams),
            Kind::StreamsPerAddress => Some(Limit::MaxStreamsPerAddress),
            Kind::Connections => Some(Limit::MaxConnections),
            Kind::Timeout => Some(Limit::HeadTimeout),
            Kind::EventBytes => Some(Limit::EventBytes),
            Kind::BodyBytes => Some(Limit::BodyBytes),
            Kind::BodiesInFlight => Some(Limit::BodiesInFlightBytes),
            Kind::BatchEvents => Some(Limit::BatchEvents),
            Kind::SegmentBytes => Some(Limit::SegmentBytes),
            Kind::HeadBytes => Some(Limit::HeadBytes),
            Kind::EventTopics => Some(Limit::EventTopics),
            Kind::Tombstones => Some(Limit::Tombstones),
            _ => None,
        }
    }
}
