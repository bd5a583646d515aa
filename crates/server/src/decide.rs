//! Admission of event streams: one decision for every transport and thread.

use std::borrow::Cow;
use std::sync::Arc;

use tidewire_core::Cursor;
use tidewire_log::{EVENT_TYPE_BYTES_MAX, Filter, Types};
use tidewire_topic::{MATCHERS_MAX, Matcher, MatcherSet, Pattern, PatternError, Template, TemplateError, TopicError};

use crate::accept;
use crate::access::{Access, Presented};
use crate::limits::{Limit, MayPassLimit};
use crate::problem::{Kind, Problem};
use crate::query::{Query, Text};

/// Where events are.
pub(crate) const EVENTS_PATH: &str = "/api/v1/events";

/// What a decision looks at in a request's head.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    form: &'a str,
    version_minor: u8,
    accept: Option<Cow<'a, str>>,
    authorization: Presented<'a>,
    last_event_id: &'a [u8],
    origin: Option<&'a [u8]>,
    upgrades_to_websocket: bool,
    has_body: bool,
    hosts: usize,
    is_host_valid: bool,
}

/// The headers that [`RequestHead::new`] takes account of.
const LOOKED_AT: [&str; 7] =
    ["accept", "authorization", "content-length", "last-event-id", "origin", "transfer-encoding", "upgrade"];

/// A stream as it was asked for and may be given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) filter: Filter,
    pub(crate) cursor: Cursor,
    /// Who asks, as its token says.
    pub(crate) subject: Option<String>,
}

impl<'a> RequestHead<'a> {
    /// `target` is a path and perhaps a query. Header names may be in any case.
    pub(crate) fn new(
        method: &'a str,
        target: &'a str,
        version_minor: u8,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> RequestHead<'a> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut head = RequestHead {
            method,
            path,
            query,
            form: "",
            version_minor,
            accept: None,
            authorization: Presented::default(),
            last_event_id: &[],
            origin: None,
            upgrades_to_websocket: false,
            has_body: false,
            hosts: 0,
            is_host_valid: true,
        };
        for (name, value) in headers {
            head.add(name, value);
        }
        head
    }

    /// The same request with the form that was its body: parameters are those of the query and then those of the form.
    pub(crate) fn with_form(self, form: &'a str) -> RequestHead<'a> {
        RequestHead { form, ..self }
    }

    /// Whether a header of this name, in any case, has a say in a decision.
    pub(crate) fn looks_at(name: &str) -> bool {
        LOOKED_AT.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    fn add(&mut self, name: &str, value: &'a [u8]) {
        // Lengths first: most headers are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => {
                self.hosts += 1;
                self.is_host_valid &= value.iter().all(|byte| is_in_host(*byte));
            }
            6 if name.eq_ignore_ascii_case("accept") => {
                let value = String::from_utf8_lossy(value);
                self.accept = Some(match self.accept.take() {
                    None => value,
                    Some(before) => Cow::Owned(format!("{before},{value}")),
                });
            }
            6 if name.eq_ignore_ascii_case("origin") => self.origin = Some(value),
            7 if name.eq_ignore_ascii_case("upgrade") => {
                let protocols = value.split(|&b| b == b',').map(<[u8]>::trim_ascii);
                self.upgrades_to_websocket |= protocols.into_iter().any(|p| p.eq_ignore_ascii_case(b"websocket"));
            }
            13 if name.eq_ignore_ascii_case("authorization") => self.authorization.add(value),
            13 if name.eq_ignore_ascii_case("last-event-id") && self.last_event_id.is_empty() => {
                self.last_event_id = value;
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.has_body |= value.trim_ascii() != b"0",
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.has_body = true,
            _ => {}
        }
    }

    /// The origin of the page that asks.
    pub(crate) fn origin(&self) -> Option<&'a [u8]> {
        self.origin
    }

    /// Whether it names its host as it must: once in HTTP/1.1, at most once before (RFC 9112, section 3.2). Whoever sends
    /// two may mean one for a proxy, and the other for the hub.
    pub(crate) fn names_its_host(&self) -> bool {
        self.is_host_valid && (self.hosts == 1 || self.hosts == 0 && self.version_minor == 0)
    }

    /// Whether the request is for the events and [`decide`] can be asked at once: there is no body to be read.
    pub(crate) fn asks_for_events(&self) -> bool {
        self.method == "GET" && self.path == EVENTS_PATH
    }
}

/// Whether a host and its port may have this byte (RFC 3986, section 3.2.2).
fn is_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%[]".contains(&byte)
}

/// So many patterns and templates are read at once on a shard.
const QUICK_PATTERNS_MAX: usize = 4;

/// A token up to this length, in bytes, is verified and read on a shard. A longer one has room for patterns that take
/// milliseconds to read.
const QUICK_AUTHORIZATION_BYTES_MAX: usize = 1_024;

/// Whether [`decide`] takes a shard's time only: that is not so for many patterns, for those that take regular
/// expressions, or for a long token.
pub(crate) fn is_quick(head: &RequestHead<'_>) -> bool {
    let Ok(parameters) = Query::parse_with(head.query, head.form) else { return true };
    let is_plain = |name, is_quick: fn(&str) -> bool| {
        parameters.values(name).all(|value| matches!(value, Text::Utf8(text) if is_quick(text)))
    };
    head.authorization.bytes() <= QUICK_AUTHORIZATION_BYTES_MAX
        && parameters.values("pattern").count() + parameters.values("template").count() <= QUICK_PATTERNS_MAX
        && is_plain("pattern", Pattern::is_quick)
        && is_plain("template", Template::is_quick)
}

/// Whether a `GET` or `QUERY` of the events is a stream, and which. Nothing but its arguments decides.
pub(crate) fn decide(head: &RequestHead<'_>, access: &Access, now_s: u64) -> Result<Plan, Problem> {
    let parameters = Query::parse_with(head.query, head.form).map_err(Problem::from)?;
    check_form(head, &parameters)?;
    let caller = access.caller(head.authorization, now_s)?;
    let grants = access.reading(&caller)?;
    let topics = topics(&parameters, access)?;
    let types = types(&parameters)?;
    let subject = caller.subject();
    Ok(Plan { filter: Filter { topics, types, grants }, cursor: cursor(head, &parameters), subject })
}

/// Whether the client can be given an event stream at all.
fn check_form(head: &RequestHead<'_>, parameters: &Query<'_>) -> Result<(), Problem> {
    if head.upgrades_to_websocket {
        return Err(Problem::new(
            Kind::NotAcceptable,
            "WebSocket is not supported yet; read the events as text/event-stream",
        ));
    }
    if parameters.has("wait") {
        return Err(Problem::new(
            Kind::NotAcceptable,
            "`wait` (long polling) is not supported yet; leave it out to get a stream",
        ));
    }
    if accept::weight(head.accept.as_deref(), "text/event-stream") == 0 {
        return Err(Problem::new(
            Kind::NotAcceptable,
            "only text/event-stream is supported yet; the Accept header excludes it",
        ));
    }
    if head.has_body && head.method == "GET" {
        return Err(Problem::new(Kind::BodyUnexpected, "a GET of a stream must not have a body; send it with QUERY"));
    }
    if head.version_minor == 0 {
        return Err(Problem::new(
            Kind::HttpVersion,
            "a stream has no length, which HTTP/1.0 cannot frame; ask with HTTP/1.1",
        ));
    }
    Ok(())
}

fn topics(parameters: &Query<'_>, access: &Access) -> Result<MatcherSet, Problem> {
    if ["topic", "pattern", "template"].iter().all(|name| !parameters.has(name)) {
        return Err(Problem::new(
            Kind::TopicMissing,
            "name a topic with `topic=…`, several with `pattern=…` or `template=…`, each repeated as often as needed, \
             or all with `topic=*`",
        ));
    }
    // They take longer to read than topics do.
    if ["pattern", "template"].iter().map(|name| parameters.values(name).count()).sum::<usize>() > MATCHERS_MAX {
        let detail = format!("there are more than {MATCHERS_MAX} patterns and templates");
        return Err(Problem::new(Kind::Matchers, detail).past(Limit::Matchers));
    }
    let topics = parameters.values("topic").map(|value| {
        let topic = utf8("topic", value)?;
        let refused =
            |error: TopicError| Problem::new(Kind::Topic, format!("`topic={topic}`: {error}")).past(error.limit());
        Matcher::parse(topic).map_err(refused)
    });
    let patterns = parameters.values("pattern").map(|value| {
        let text = utf8("pattern", value)?;
        let pattern = Pattern::parse(text, access.base()?);
        let refused =
            |error: PatternError| Problem::new(Kind::Pattern, format!("`pattern={text}`: {error}")).past(error.limit());
        pattern.map(Matcher::Pattern).map_err(refused)
    });
    let templates = parameters.values("template").map(|value| {
        let text = utf8("template", value)?;
        let refused = |error: TemplateError| {
            Problem::new(Kind::Pattern, format!("`template={text}`: {error}")).past(error.limit())
        };
        Template::parse(text).map(Matcher::Template).map_err(refused)
    });
    let set = MatcherSet::read(topics.chain(patterns).chain(templates))?;
    set.map_err(|error| Problem::new(Kind::Matchers, error.to_string()).past(error.limit()))
}

fn types(parameters: &Query<'_>) -> Result<Types, Problem> {
    let mut types: Vec<Arc<str>> = Vec::new();
    for value in parameters.values("type") {
        let name = utf8("type", value)?;
        if name.is_empty() || name.len() > EVENT_TYPE_BYTES_MAX {
            let detail = format!("a `type` has 1 to {EVENT_TYPE_BYTES_MAX} bytes, not {}", name.len());
            let limit = (name.len() > EVENT_TYPE_BYTES_MAX).then_some(Limit::TypeBytes);
            return Err(Problem::new(Kind::Type, detail).past(limit));
        }
        types.push(name.into());
    }
    if types.len() > MATCHERS_MAX {
        let detail = format!("there are more than {MATCHERS_MAX} types");
        return Err(Problem::new(Kind::Matchers, detail).past(Limit::Types));
    }
    Ok(Types::new(types))
}

/// Where the stream begins: the first last id that is there and not empty, then `from`.
fn cursor(head: &RequestHead<'_>, parameters: &Query<'_>) -> Cursor {
    if !head.last_event_id.is_empty() {
        return match str::from_utf8(head.last_event_id) {
            Ok(id) => Cursor::last_id(id),
            Err(_) => Cursor::Malformed(String::from_utf8_lossy(head.last_event_id).into_owned()),
        };
    }
    for name in ["last_event_id", "lastEventID", "lastId"] {
        match parameters.values(name).find(|value| !value.is_empty()) {
            Some(Text::Utf8(id)) => return Cursor::last_id(id),
            Some(Text::Lossy(id)) => return Cursor::Malformed(id.clone()),
            None => {}
        }
    }
    match parameters.values("from").find(|value| !value.is_empty()) {
        Some(Text::Utf8(from)) => Cursor::from_parameter(from),
        Some(Text::Lossy(id)) => Cursor::Malformed(id.clone()),
        None => Cursor::Live,
    }
}

fn utf8<'t>(name: &str, value: &'t Text<'_>) -> Result<&'t str, Problem> {
    match value {
        Text::Utf8(text) => Ok(text),
        Text::Lossy(_) => Err(Problem::new(Kind::Query, format!("`{name}` is not UTF-8 once it is decoded"))),
    }
}

#[cfg(test)]
mod tests {
    use tidewire_log::HubId;

    use super::*;

    fn open() -> Access {
        let base = tidewire_topic::BaseUrl::parse("https://hub.example").expect("a URL");
        Access { anonymous_reading: true, anonymous_publishing: true, verifier: None, base: base.into() }
    }

    fn ask(target: &str, headers: &[(&str, &str)]) -> Result<Plan, Kind> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let head = RequestHead::new("GET", target, 1, headers);
        assert!(head.asks_for_events());
        decide(&head, &open(), 0).map_err(|problem| problem.kind())
    }

    fn cursor_of(target: &str, headers: &[(&str, &str)]) -> Cursor {
        ask(target, headers).expect("a stream").cursor
    }

    #[test]
    fn the_filter_is_what_was_asked() {
        let plan = ask("/api/v1/events?topic=b&topic=a%2Fb&type=x&type=y&colour=red", &[]).expect("a stream");
        let topics: Vec<&str> = plan.filter.topics.exact().map(tidewire_topic::Topic::as_str).collect();
        assert_eq!(topics, ["a/b", "b"]);
        assert_eq!(plan.filter.types, Types::new(vec!["y".into(), "x".into()]));
        assert_eq!(plan.filter.grants, None);
        assert_eq!(plan.cursor, Cursor::Live);
        assert!(ask("/api/v1/events?topic=*", &[]).expect("a stream").filter.topics.is_any());
    }

    #[test]
    fn what_cannot_be_matched_is_refused() {
        assert_eq!(ask("/api/v1/events", &[]), Err(Kind::TopicMissing));
        assert_eq!(ask("/api/v1/events?topic=", &[]), Err(Kind::Topic));
        assert_eq!(ask("/api/v1/events?topic=%0A", &[]), Err(Kind::Topic));
        assert_eq!(ask("/api/v1/events?topic=%FF", &[]), Err(Kind::Query));
        assert_eq!(ask("/api/v1/events?topic=a&pattern=/b/(a", &[]), Err(Kind::Pattern));
        assert_eq!(ask("/api/v1/events?pattern=", &[]), Err(Kind::Pattern));
        assert_eq!(ask("/api/v1/events?topic=a&template=/b/{a", &[]), Err(Kind::Pattern));
        assert_eq!(ask("/api/v1/events?template=%FF", &[]), Err(Kind::Query));
        assert_eq!(ask("/api/v1/events?topic=a&type=", &[]), Err(Kind::Type));
    }

    #[test]
    fn only_few_and_plain_patterns_are_read_on_a_shard() {
        let quick = |query: &str| {
            let target = format!("/api/v1/events?{query}");
            is_quick(&RequestHead::new("GET", &target, 1, std::iter::empty()))
        };
        let many = |count| (0..count).map(|n| format!("&pattern=/{n}/*&template=/{{x}}")).collect::<String>();
        for query in ["topic=a", "", "pattern=/users/:id/*", "template=/users/{%2Bid}", &many(2)] {
            assert!(quick(query), "{query}");
        }
        for query in ["pattern=/(a|b)", "%70attern=%2F%28a%29", "pattern=/a&pattern=/:b%2B", "template={/a*}", &many(3)]
        {
            assert!(!quick(query), "{query}");
        }
    }

    #[test]
    fn nothing_is_looked_at_but_what_is_kept_for_later() {
        let nothing = format!("{:?}", RequestHead::new("GET", "/", 1, std::iter::empty()));
        for name in LOOKED_AT.into_iter().chain(["cookie", "x-forwarded-for", "te", "expires", "user-agent-of-19"]) {
            let value = &b"7"[..];
            let head = format!("{:?}", RequestHead::new("GET", "/", 1, [(name, value)].into_iter()));
            assert_eq!(head != nothing || name == "upgrade", RequestHead::looks_at(name), "{name}");
        }
    }

    #[test]
    fn only_a_token_of_ordinary_length_is_read_on_a_shard() {
        let quick = |length: usize| {
            let token = "x".repeat(length);
            let headers = [("Authorization", token.as_bytes())];
            is_quick(&RequestHead::new("GET", "/api/v1/events?topic=a", 1, headers.into_iter()))
        };
        assert!(quick(QUICK_AUTHORIZATION_BYTES_MAX));
        assert!(!quick(QUICK_AUTHORIZATION_BYTES_MAX + 1));
    }

    #[test]
    fn one_more_than_each_limit_is_refused() {
        let many = |name: &str, count| (0..count).map(|n| format!("&{name}=x{n}")).collect::<String>();
        assert!(ask(&format!("/api/v1/events?{}", many("topic", MATCHERS_MAX)), &[]).is_ok());
        assert_eq!(ask(&format!("/api/v1/events?{}", many("topic", MATCHERS_MAX + 1)), &[]), Err(Kind::Matchers));
        assert!(ask(&format!("/api/v1/events?topic=a{}", many("type", MATCHERS_MAX)), &[]).is_ok());
        assert_eq!(ask(&format!("/api/v1/events?topic=a{}", many("type", MATCHERS_MAX + 1)), &[]), Err(Kind::Matchers));
        let longest = "x".repeat(EVENT_TYPE_BYTES_MAX);
        assert!(ask(&format!("/api/v1/events?topic=a&type={longest}"), &[]).is_ok());
        assert_eq!(ask(&format!("/api/v1/events?topic=a&type={longest}x"), &[]), Err(Kind::Type));
    }

    #[test]
    fn a_host_is_named_once() {
        let names = |version_minor, hosts: &[&str]| {
            let headers = hosts.iter().map(|host| ("Host", host.as_bytes()));
            RequestHead::new("GET", "/", version_minor, headers).names_its_host()
        };
        for host in ["", "hub", "hub:80", "[::1]:80", "a%20b"] {
            assert!(names(1, &[host]) && names(0, &[host]), "{host}");
        }
        for host in ["a b", "a/b", "a@b", "a\tb", "ä"] {
            assert!(!names(1, &[host]) && !names(0, &[host]), "{host}");
        }
        assert!(names(0, &[]) && !names(1, &[]));
        assert!(!names(1, &["a", "a"]) && !names(0, &["a", "a"]));
    }

    #[test]
    fn the_first_last_id_that_is_there_and_not_empty_wins() {
        let after = |ms| Cursor::After(HubId { ms, seq: 0 });
        let target = "/api/v1/events?topic=a&from=earliest&lastId=4-0&lastEventID=3-0&last_event_id=&last_event_id=2-0";
        assert_eq!(cursor_of(target, &[("Last-Event-ID", "1-0")]), after(1));
        assert_eq!(cursor_of(target, &[("last-event-id", "")]), after(2));
        assert_eq!(cursor_of("/api/v1/events?topic=a&from=earliest&lastId=4-0&lastEventID=3-0", &[]), after(3));
        assert_eq!(cursor_of("/api/v1/events?topic=a&from=earliest&lastId=%234-0", &[]), after(4));
        assert_eq!(cursor_of("/api/v1/events?topic=a&from=earliest&lastId=", &[]), Cursor::Earliest);
        assert_eq!(cursor_of("/api/v1/events?topic=a&from=-50", &[]), Cursor::Last(50));
    }

    #[test]
    fn no_last_id_is_refused() {
        for id in ["%FF", "%00", "%0A", "#", "-5", &"x".repeat(2_000), "18446744073709551616-0"] {
            for name in ["last_event_id", "lastEventID", "lastId", "from"] {
                ask(&format!("/api/v1/events?topic=a&{name}={id}"), &[]).expect("a stream");
            }
        }
        let head =
            RequestHead::new("GET", "/api/v1/events?topic=a", 1, [("last-event-id", &b"\xff\xfe"[..])].into_iter());
        assert!(matches!(decide(&head, &open(), 0).expect("a stream").cursor, Cursor::Malformed(_)));
    }

    #[test]
    fn only_streams_are_there_yet() {
        let target = "/api/v1/events?topic=a";
        for accept in ["", "*/*", "text/event-stream", "text/html, */*;q=0.1"] {
            assert!(ask(target, &[("accept", accept)]).is_ok(), "{accept:?}");
        }
        assert_eq!(ask(target, &[("accept", "application/json")]), Err(Kind::NotAcceptable));
        assert_eq!(
            ask(target, &[("accept", "text/html"), ("accept", "text/event-stream;q=0")]),
            Err(Kind::NotAcceptable)
        );
        assert!(ask(target, &[("accept", "text/html"), ("accept", "text/event-stream")]).is_ok());
        assert_eq!(ask("/api/v1/events?topic=a&wait=30s", &[]), Err(Kind::NotAcceptable));
        assert_eq!(ask(target, &[("Upgrade", "h2c, WebSocket")]), Err(Kind::NotAcceptable));
        assert!(ask(target, &[("upgrade", "h2c")]).is_ok());
        assert_eq!(ask(target, &[("content-length", "1")]), Err(Kind::BodyUnexpected));
        assert!(ask(target, &[("content-length", "0")]).is_ok());
        assert_eq!(ask(target, &[("transfer-encoding", "chunked")]), Err(Kind::BodyUnexpected));
        let old = RequestHead::new("GET", target, 0, std::iter::empty());
        assert_eq!(decide(&old, &open(), 0).map_err(|problem| problem.kind()), Err(Kind::HttpVersion));
    }

    #[test]
    fn a_token_is_looked_at_even_where_none_is_needed() {
        let target = "/api/v1/events?topic=a";
        assert_eq!(ask(target, &[("Authorization", "Bearer nonsense")]), Err(Kind::TokenInvalid));
        assert_eq!(ask(target, &[("Authorization", "Basic x")]), Err(Kind::Authorization));
        assert_eq!(
            ask(target, &[("Authorization", "Bearer a"), ("authorization", "Bearer a")]),
            Err(Kind::Authorization)
        );
        let closed = Access { anonymous_reading: false, ..open() };
        let head = RequestHead::new("GET", target, 1, std::iter::empty());
        assert_eq!(decide(&head, &closed, 0).map_err(|problem| problem.kind()), Err(Kind::TokenMissing));
    }

    #[test]
    fn a_token_s_grants_are_in_the_filter() {
        let subscribe = MatcherSet::new([Matcher::parse("p").expect("a topic")]).ok();
        let claims = tidewire_auth::Claims { subscribe: subscribe.clone(), ..Default::default() };
        let token = format!("Bearer {}", tidewire_auth::mint(&[5; 32], &claims).expect("a token"));
        let mut access = Access { anonymous_reading: false, ..open() };
        access.verifier = Some(tidewire_auth::Verifier::hs256(&[5; 32], None).expect("a key"));
        let headers = [("authorization", token.as_bytes())];
        let head = RequestHead::new("GET", "/api/v1/events?topic=a", 1, headers.into_iter());
        assert_eq!(decide(&head, &access, 0).expect("a stream").filter.grants, subscribe);
    }

    proptest::proptest! {
        #[test]
        fn no_head_panics(target in ".{0,200}", accept in ".{0,50}", authorization in proptest::collection::vec(0u8.., 0..60), id in proptest::collection::vec(0u8.., 0..200)) {
            let headers = [("accept", accept.as_bytes()), ("authorization", &authorization), ("last-event-id", &id)];
            let head = RequestHead::new("GET", &target, 1, headers.into_iter());
            let _ = decide(&head, &open(), 0);
        }
    }
}
