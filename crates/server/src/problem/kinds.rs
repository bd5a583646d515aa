//! The table of problems: `docs/errors.md` is made of it.

use http::StatusCode;

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $kind:ident => $name:literal, $status:literal, $title:literal, $cause:literal, $remedy:literal;)+) => {
        /// A kind of error: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// Every kind, in the order of the table.
            pub(crate) const ALL: &[Kind] = &[$(Kind::$kind,)+];

            /// The name after `urn:tidewire:error:`. It does not change.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)+ }
            }

            /// The HTTP status.
            pub(crate) fn status(self) -> StatusCode {
                let status: u16 = match self { $(Kind::$kind => $status,)+ };
                StatusCode::from_u16(status).expect("a test makes every status")
            }

            /// What it is, for people.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Kind::$kind => $title,)+ }
            }

            /// When it is answered.
            #[cfg(test)]
            pub(crate) fn cause(self) -> &'static str {
                match self { $(Kind::$kind => $cause,)+ }
            }

            /// What to do about it.
            #[cfg(test)]
            pub(crate) fn remedy(self) -> &'static str {
                match self { $(Kind::$kind => $remedy,)+ }
            }
        }
    };
}

problems! {
    /// What came is no request head of HTTP/1.
    Head => "head", 400, "The request's head cannot be read",
        "What came is no HTTP/1 request head, or does not name its host once, as HTTP/1.1 asks; or it came \
         without TLS to a port that speaks it, or from one of `trusted_proxies` without the header that `proxy_protocol` asks \
         for. The connection is closed.",
        "Send what HTTP/1.1 asks for. Where the hub speaks TLS, ask by `https`, and where it does not, by `http`.";
    /// The query string cannot be decoded.
    Query => "query", 400, "The query cannot be read",
        "A parameter is not UTF-8 once it is decoded, or there are more than 1,000; or the form of a `QUERY` is not UTF-8.",
        "Percent-encode UTF-8; ask for less.";
    /// A stream was asked for without a topic, or an event by a publisher's id alone.
    TopicMissing => "topic-missing", 400, "No topic is named",
        "A stream without `topic`, `pattern` and `template`. An event to be erased by a publisher's id, \
         without `topic`.",
        "Name a topic; `topic=*` asks for all.";
    /// A topic that cannot be one.
    Topic => "topic", 400, "A topic is not valid",
        "It is empty, longer than 4,096 bytes, or has control or format characters; `*` when publishing.",
        "Name another topic. In a URL, percent-encode it.";
    /// More topics or types in a request than a stream may have.
    Matchers => "matchers", 400, "Too many topics or types",
        "A stream has at most 100 topics, patterns and templates, which [weigh](api.md#weight) at most 1,000 \
         together, and 100 types.",
        "Ask for fewer, or for one pattern in place of many topics; open another stream.";
    /// A type that cannot be one, or that is the hub's own.
    Type => "type", 400, "An event type is not valid",
        "It is empty, longer than 128 bytes, has control or format characters, or begins with `tidewire.`.",
        "Name another type.";
    /// A matcher that this hub does not have yet.
    Pattern => "pattern", 400, "A pattern or template is not valid",
        "It is empty, longer than 1,024 bytes, no URL Pattern or URI Template, or has too many wildcards, \
         names or expressions, or too large a regular expression ([limits](limits.md)).",
        "Mend it: the detail has the byte at fault, or the limit.";
    /// A request that has no business with a body has one.
    BodyUnexpected => "body-unexpected", 400, "The request must not have a body",
        "A stream asked for by `GET` with a body.",
        "Ask without a body, or send a form by `QUERY`.";
    /// A body that does not come as its framing says.
    BodyFraming => "body-framing", 400, "The request's body cannot be read",
        "It ended before it had as much as `Content-Length` says, or before its last chunk, or its chunks are none. The \
         connection is closed.",
        "Send as much as was announced; something between you and the hub may have cut it.";
    /// A body that is not JSON.
    Json => "json", 400, "The body is not valid JSON",
        "It does not follow JSON's grammar, or is not UTF-8.",
        "Mend it: the detail has line and column.";
    /// A JSON value that is not an event.
    Event => "event", 400, "An event is not valid",
        "A member is missing, is there twice, or has a value of another kind.",
        "Mend it: the detail names the member.";
    /// A member that events do not have.
    Member => "member", 400, "An event has an unknown member",
        "A member that events do not have.",
        "Leave it out, or spell it right: the detail says what may be meant.";
    /// An array without events.
    BatchEmpty => "batch-empty", 400, "There is no event to publish",
        "An empty array.",
        "Send an event.";
    /// A publisher's id that cannot be one.
    Id => "id", 400, "A publisher's id is not valid",
        "It is empty, longer than 128 bytes, begins with `#`, is `earliest` or a negative number, or has \
         control or format characters.",
        "Give the event another id, or none.";
    /// The same first topic and publisher's id twice in an array.
    IdRepeated => "id-repeated", 400, "An array has the same id twice",
        "On the same first topic.",
        "Send each event once.";
    /// A number of a page that cannot be one.
    Page => "page", 400, "The page asked for is not valid",
        "`limit` is not a number from 1 to 1,000; of connections, `after` is not the `next` of another page, \
         or `address` no address.",
        "Ask for another page: the detail says which.";
    /// An `Authorization` header that cannot be read.
    Authorization => "authorization", 400, "The Authorization header cannot be read",
        "It is there twice, or is not `Bearer` and a token.",
        "Send `Authorization: Bearer <token>`, once.";
    /// No token, and one is needed.
    TokenMissing => "token-missing", 401, "A token is needed",
        "None was presented, and anonymous reading, publishing or managing is not allowed.",
        "Send a token.";
    /// A token that is not valid, or not any more.
    TokenInvalid => "token-invalid", 401, "The token is not valid",
        "Malformed, expired, signed with another key, or for another audience; also where no token is needed.",
        "Get a new token: the detail says what is wrong with this one.";
    /// The token does not grant this.
    InsufficientScope => "insufficient-scope", 403, "The token does not grant this",
        "A topic of an event is not in the token's `publish`, or erasing, connections or ending one without \
         `admin`.",
        "Get a token that grants it.";
    /// A browser asks for a page of an origin that is not among `cors_origins`.
    Origin => "origin", 403, "Pages of this origin may not use the hub",
        "A browser asks, before it sends a page's request, for an origin that is not among `cors_origins`.",
        "Add the origin to `cors_origins`, if its pages are to use the hub.";
    /// Nothing is at this path.
    NotFound => "not-found", 404, "Nothing is here",
        "There is no such path.",
        "Look at the path.";
    /// No such event, or none the caller may read.
    EventNotFound => "event-not-found", 404, "There is no such event",
        "It is not retained, was erased, was never there, or you may not read it.",
        "Nothing: it is not to be had.";
    /// Nothing that the caller may know of is on this topic.
    TopicNotFound => "topic-not-found", 404, "There is no such topic",
        "Nothing that you may read is kept on it, and, as far as you may know, nobody watches it.",
        "Wait for an event on it.";
    /// No stream has this id.
    ConnectionNotFound => "connection-not-found", 404, "There is no such connection",
        "The stream has ended, or its id is of another run of the hub.",
        "List the connections again.";
    /// The path does not take this method.
    Method => "method", 405, "The method is not allowed",
        "The path does not take it.",
        "Use one that `Allow` lists.";
    /// None of the forms the client accepts is there.
    NotAcceptable => "not-acceptable", 406, "The form asked for is not supported",
        "What the client accepts is no `text/event-stream`; pages, long polls and WebSocket do not exist yet.",
        "Accept `text/event-stream`.";
    /// The request's body did not come in time.
    Timeout => "timeout", 408, "The request took too long",
        "Its head, or a part of its body, took longer than `head_timeout`; or the body came at less than the least rate, which is \
         higher while bodies take more than half of `bodies_in_flight_bytes` ([limits](limits.md)).",
        "Send faster. For a slow network, raise `head_timeout`; where many publish much at a time, `bodies_in_flight_bytes`.";
    /// A publisher's id was published with other content.
    IdConflict => "id-conflict", 409, "The id was published with other content",
        "Within `idempotence_window`, on the same first topic.",
        "Give the event another id, or take the first one for it: `id` names it.";
    /// The body is larger than `body_bytes`.
    BodyBytes => "body-bytes", 413, "The body is too large",
        "Larger than `body_bytes`.",
        "Send fewer events at a time, or raise `body_bytes`.";
    /// The array has more events than `batch_events`.
    BatchEvents => "batch-events", 413, "There are too many events in one request",
        "More than `batch_events`.",
        "Send fewer at a time, or raise `batch_events`.";
    /// An event's data is larger than `event_bytes`.
    EventBytes => "event-bytes", 413, "An event is too large",
        "Its data is larger than `event_bytes`.",
        "Send less, or raise `event_bytes`. What is large is better kept elsewhere, and linked to.";
    /// An event has too many topics.
    EventTopics => "event-topics", 413, "An event has too many topics",
        "More than 100, or more than 16 KiB of them.",
        "Name fewer or shorter topics; readers may ask by a pattern.";
    /// The array, encoded, is larger than `segment_bytes`.
    SegmentBytes => "segment-bytes", 413, "The array does not fit in a file of the log",
        "Encoded, it is larger than `segment_bytes`.",
        "Send fewer events at a time, or raise `segment_bytes`.";
    /// The body is not JSON by its own word.
    MediaType => "media-type", 415, "The body's media type is not supported",
        "It is not `application/json`, or for `QUERY` not `application/x-www-form-urlencoded`.",
        "Send the `Content-Type` that the request takes.";
    /// The body is compressed.
    ContentEncoding => "content-encoding", 415, "The body's encoding is not supported",
        "It is compressed.",
        "Send it as it is.";
    /// The client's address has `max_streams_per_address` streams.
    StreamsPerAddress => "streams-per-address", 429, "Too many streams from one address",
        "As many as `max_streams_per_address` from the client's address, or its /64 of IPv6.",
        "End one of them, or come from elsewhere. Raise it where many clients have one address in common, as that of a \
         proxy or a company.";
    /// The head is too large.
    HeadBytes => "head-bytes", 431, "The request's head is too large",
        "Larger than 64 KiB, or with more than 100 fields. The connection is closed.",
        "Send fewer topics, fields or cookies.";
    /// Something in the hub broke.
    Internal => "internal", 500, "The hub failed",
        "Something in it broke.",
        "Look at what the hub told on standard error, and report it.";
    /// More is waiting to be committed than `append_queue_bytes`.
    Busy => "busy", 503, "The hub is busy",
        "More waits to be committed than `append_queue_bytes`, or another file of the log could not be made \
         just now, or too many streams wait for their place in the log to be found, or one has for `decide_timeout`.",
        "Send again after `Retry-After`.";
    /// The bodies under way have `bodies_in_flight_bytes`.
    BodiesInFlight => "bodies-in-flight", 503, "The hub is reading too many bodies",
        "The bodies of other requests take `bodies_in_flight_bytes`.",
        "Send again after `Retry-After`. Send smaller bodies, or raise it.";
    /// There are `max_streams` streams.
    Streams => "streams", 503, "The hub has too many streams",
        "As many as `max_streams`.",
        "Raise `max_streams` and the limit of open files, or add a hub.";
    /// There are `max_connections` connections.
    Connections => "connections", 503, "The hub has too many connections",
        "As many as `max_connections`, streams aside.",
        "Keep fewer connections open, or raise `max_connections` and the limit of open files.";
    /// The hub is starting or stopping.
    NotReady => "not-ready", 503, "The hub is not ready",
        "It is starting or stopping, its log cannot be written, or it is stuck.",
        "Come back after `Retry-After`; if it stays so, look at `/health/ready`.";
    /// A thread has work and does nothing.
    Stuck => "stuck", 503, "The hub is stuck",
        "`/health/live` only: a thread has had work and done nothing for `stuck_after`.",
        "If it stays so, start the hub again; nothing that was answered is lost.";
    /// Writing failed with the events under way, and nothing of them will ever be shown.
    NotWritten => "not-written", 503, "The events could not be written",
        "Writing or syncing failed. Nothing of what was sent will ever be shown.",
        "Send it again. See [durability](durability.md).";
    /// The log cannot be written or read.
    LogFailed => "log-failed", 503, "The log failed",
        "It could not be read, or cannot be written just now. Nothing was written.",
        "Send it again later: it works again by itself once the disk does.";
    /// A stream was asked for in HTTP/1.0, which cannot frame it.
    HttpVersion => "http-version", 505, "HTTP/1.1 is needed",
        "A stream asked for in HTTP/1.0.",
        "Ask with HTTP/1.1.";
    /// There is no room for what would keep it erased.
    Tombstones => "tombstones", 507, "Too much was erased",
        "There are 100,000 tombstones, or their topics take more than 16 MiB.",
        "Wait: each goes when retention has removed what it is for.";
    /// The disk is full, or takes nothing.
    NoSpace => "no-space", 507, "The disk is full or read-only",
        "The disk has no room, or takes nothing. Nothing was written.",
        "Make room: lower `retention_bytes`, or give the hub a larger disk. It goes on by itself.";
}
