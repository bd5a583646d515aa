//! Streams as the engine is given them, and the answers to connections that become none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Response;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tidewire_core::{ClientAddress, Cursor, Gap, GapReason, Start, StreamStart};
use tidewire_engine::{Admission, Admit, Head, News, PipeReader, Refusal, Work};
use tidewire_log::HubId;

use crate::decide::{Plan, RequestHead, decide, is_quick};
use crate::hub::Hub;
use crate::limits::Limit;
use crate::problem::{Kind, Problem};
use crate::{address, time};

/// What streams begin with.
pub(crate) struct StreamHeads {
    /// Everything but the date, in HTTP/1.1.
    fixed: Vec<u8>,
    /// The same in any other version.
    headers: HeaderMap,
    retry_ms: AtomicU64,
    jitter: AtomicU64,
}

impl StreamHeads {
    pub(crate) fn new(heartbeat: Duration, retry: Duration, jitter_seed: u64) -> StreamHeads {
        // No stream is silent for longer than it says: a fraction of a second is rounded up.
        let heartbeat_s = heartbeat.as_millis().div_ceil(1_000);
        let fields = [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-cache, no-transform"),
            ("X-Accel-Buffering", "no"),
            ("Tidewire-Heartbeat", &heartbeat_s.to_string()),
        ];
        let mut fixed = "HTTP/1.1 200 OK\r\n".to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            fixed.extend([name, ": ", value, "\r\n"]);
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.insert(name, HeaderValue::from_str(value).expect("letters and digits"));
        }
        fixed.push_str("Transfer-Encoding: chunked\r\nDate: ");
        let heads = StreamHeads {
            fixed: fixed.into_bytes(),
            headers,
            retry_ms: AtomicU64::default(),
            jitter: AtomicU64::new(jitter_seed),
        };
        heads.set_retry(retry);
        heads
    }

    /// The reconnection time around which clients are told one from now on.
    pub(crate) fn set_retry(&self, retry: Duration) {
        self.retry_ms.store(u64::try_from(retry.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Status line, headers, `more` of them in lines, and the empty line.
    fn head(&self, now_s: u64, more: Option<&str>) -> Vec<u8> {
        let more = more.unwrap_or_default();
        let mut head = Vec::with_capacity(self.fixed.len() + more.len() + 40);
        head.extend_from_slice(&self.fixed);
        head.extend_from_slice(time::http_date(now_s).as_bytes());
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(more.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The head in another version than HTTP/1.1, without the date.
    pub(crate) fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        response.headers_mut().clone_from(&self.headers);
        response
    }

    /// The reconnection time, up to a quarter more or less, so that those who lost their streams
    /// together do not come back together.
    fn retry_ms(&self) -> u64 {
        let retry_ms = self.retry_ms.load(Ordering::Relaxed);
        let quarter = retry_ms / 4;
        let random = mix(self.jitter.fetch_add(GOLDEN, Ordering::Relaxed));
        retry_ms - quarter + random % (2 * quarter + 1)
    }
}

/// The odd integer nearest to 2^64 divided by the golden ratio: its multiples visit every number
/// before one comes again.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scatters a counter (the finaliser of SplitMix64).
fn mix(counter: u64) -> u64 {
    let mut z = counter;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Hub {
    fn begin(&self, plan: Plan, client: ClientAddress, head: Vec<u8>) -> StreamStart {
        let start = plan.cursor.resolve(&*self.log, &self.tail, &plan.filter).unwrap_or_else(|error| {
            tracing::error!(%error, "the log could not be read to find where a stream begins");
            from_the_beginning(&plan.cursor, self.log.low_water())
        });
        let (subject, retry_ms) = (plan.subject, self.streams.retry_ms());
        StreamStart { head, retry_ms, filter: plan.filter, start, subject, client: Some(client) }
    }
}

/// Where a stream begins whose place cannot be found: it is not refused, it is told so.
fn from_the_beginning(cursor: &Cursor, low_water: HubId) -> Start {
    let requested = match cursor {
        Cursor::Live => return Start { place: low_water, gap: None },
        Cursor::Earliest => "earliest".to_owned(),
        Cursor::Last(count) => format!("-{count}"),
        Cursor::After(id) => id.to_string(),
        Cursor::AfterPublisherId(text) | Cursor::Malformed(text) => text.clone(),
    };
    Start { place: low_water, gap: Some(Gap { requested, reason: GapReason::Unknown }) }
}

/// What a decision looks at of a head, to be decided on away from the shard that has read it.
struct OwnHead {
    client: ClientAddress,
    method: String,
    target: String,
    version_minor: u8,
    headers: Vec<(String, Vec<u8>)>,
}

impl OwnHead {
    fn of(head: &Head<'_>, client: ClientAddress) -> OwnHead {
        let wanted = head.headers.iter().filter(|header| RequestHead::looks_at(header.name));
        let headers = wanted.map(|header| (header.name.to_owned(), header.value.to_vec()));
        OwnHead {
            client,
            method: head.method.to_owned(),
            target: head.target.to_owned(),
            version_minor: head.version_minor,
            headers: headers.collect(),
        }
    }

    fn admit(&self, hub: &Arc<Hub>) -> Admission {
        let headers = self.headers.iter().map(|(name, value)| (&**name, &**value));
        admit(hub, &RequestHead::new(&self.method, &self.target, self.version_minor, headers), self.client)
    }
}

/// What becomes of a request for the events.
fn admit(hub: &Arc<Hub>, request: &RequestHead<'_>, client: ClientAddress) -> Admission {
    match decide(request, &hub.live().access, time::now_ms() / 1_000) {
        Ok(plan) => admission(hub, plan, client, request.origin()),
        Err(_) => Admission::HandOver,
    }
}

/// How a stream begins that a client at this address, with a page of this origin, is given.
pub(crate) fn admission(hub: &Arc<Hub>, plan: Plan, client: ClientAddress, origin: Option<&[u8]>) -> Admission {
    let (now_s, more) = (time::now_ms() / 1_000, hub.live().origins.lines(origin));
    begin(hub, plan, client, move |hub| hub.streams.head(now_s, more.as_deref()))
}

/// Begins a stream for a client at this address that has no socket of its own, and is answered by whoever carries it.
pub(crate) fn open(hub: &Arc<Hub>, plan: Plan, client: ClientAddress) -> PipeReader {
    let asked = Arc::clone(hub);
    hub.engine.wait().open(Box::new(move || begin(&asked, plan, client, |_| Vec::new())), client)
}

/// A place that may have to be sought on the disk is sought later.
fn begin(
    hub: &Arc<Hub>,
    plan: Plan,
    client: ClientAddress,
    head: impl FnOnce(&Hub) -> Vec<u8> + Send + 'static,
) -> Admission {
    if plan.cursor.is_quick(&hub.tail, &plan.filter) {
        return Admission::Stream(hub.begin(plan, client, head(hub)));
    }
    let hub = Arc::clone(hub);
    let begin = move || Admission::Stream(hub.begin(plan, client, head(&hub)));
    Admission::Later(Work::Seeking, client, Box::new(begin))
}

/// Admission on the shards. What is no stream is handed over to be answered with all of HTTP.
pub(crate) struct Admissions(pub(crate) Arc<Hub>);

impl Admit for Admissions {
    fn admit(&self, head: &Head<'_>) -> Admission {
        let headers = head.headers.iter().map(|header| (header.name, header.value));
        let request = RequestHead::new(head.method, head.target, head.version_minor, headers);
        if !request.asks_for_events() || !request.names_its_host() {
            return Admission::HandOver;
        }
        let client = address::of_head(head, &self.0.trusted_proxies);
        if !is_quick(&request) {
            let (hub, head) = (Arc::clone(&self.0), OwnHead::of(head, client));
            return Admission::Later(Work::Reading, client, Box::new(move || head.admit(&hub)));
        }
        admit(&self.0, &request, client)
    }

    fn refuse(&self, refusal: Refusal, client: ClientAddress) -> Vec<u8> {
        let problem = problem(refusal);
        self.0.metrics.count_problem(&problem);
        self.0.metrics.count_answer(problem.kind().status());
        let answer = problem.to_bytes();
        self.0.request_log.refused(problem.kind(), answer.len(), client);
        answer
    }

    fn listens(&self) -> bool {
        self.0.request_log.is_whole()
    }

    fn tell(&self, news: &News<'_>) {
        self.0.request_log.stream(news);
    }

    fn retry_ms(&self) -> u64 {
        self.0.streams.retry_ms()
    }
}

/// What is said of a connection that is closed before it is anything, or because of what came on it.
pub(crate) fn problem(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::HeadTimeout => Problem::new(Kind::Timeout, "the request's head did not come in time (head_timeout)"),
        Refusal::HeadTooLarge => {
            Problem::new(Kind::HeadBytes, "the request's head is too long, or has too many fields")
        }
        Refusal::HeadMalformed => Problem::new(Kind::Head, "what came is no HTTP/1 request head"),
        Refusal::NotIntroduced => Problem::new(
            Kind::Head,
            "connections from this address begin with a header of the PROXY protocol (proxy_protocol, trusted_proxies)",
        ),
        Refusal::TooManyStreams => {
            Problem::new(Kind::Streams, "there are as many streams as the hub takes (max_streams)")
        }
        Refusal::TooManyStreamsPerAddress => Problem::new(
            Kind::StreamsPerAddress,
            "your address has as many streams as the hub gives one (max_streams_per_address)",
        ),
        Refusal::TooManyUndecided => {
            Problem::new(Kind::Busy, "too many places are being sought in the log").past(Limit::UndecidedHeads)
        }
        Refusal::UndecidedTimeout => {
            let detail =
                "the stream's place in the log was not found, or its patterns not read, in time (decide_timeout)";
            Problem::new(Kind::Busy, detail).past(Limit::DecideTimeout)
        }
        Refusal::TooManyConnections => {
            Problem::new(Kind::Connections, "there are as many connections as the hub takes (max_connections)")
        }
        Refusal::LogUnreadable => Problem::new(Kind::LogFailed, "the log could not be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_head_says_how_to_read_the_stream() {
        let heads = StreamHeads::new(Duration::from_millis(19_500), Duration::from_secs(2), 1);
        let head = String::from_utf8(heads.head(0, None)).expect("text");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{head}");
        assert!(head.contains("\r\nCache-Control: no-cache, no-transform\r\n"), "{head}");
        assert!(head.contains("\r\nX-Accel-Buffering: no\r\n"), "{head}");
        assert!(head.contains("\r\nTidewire-Heartbeat: 20\r\n"), "{head}");
        assert!(head.ends_with("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"), "{head}");
    }

    #[test]
    fn reconnection_times_lie_a_quarter_around_the_one_configured() {
        let heads = StreamHeads::new(Duration::from_secs(20), Duration::from_secs(2), 7);
        let times: Vec<u64> = (0..1_000).map(|_| heads.retry_ms()).collect();
        assert!(times.iter().all(|ms| (1_500..=2_500).contains(ms)));
        assert!(times.iter().min() < Some(&1_550) && times.iter().max() > Some(&2_450));
        assert_eq!(StreamHeads::new(Duration::from_secs(20), Duration::from_millis(1), 7).retry_ms(), 1);
    }

    fn admit(admissions: &Admissions, method: &str, target: &str, headers: &[httparse::Header<'_>]) -> Admission {
        let peer = ClientAddress::Unix;
        let headers = [headers, &[httparse::Header { name: "Host", value: b"hub" }]].concat();
        admissions.admit(&Head { method, target, version_minor: 1, headers: &headers, peer })
    }

    #[test]
    fn a_shard_is_given_streams_and_nothing_else() {
        let admissions = Admissions(Bench::dev().hub);
        let stream = admit(&admissions, "GET", "/api/v1/events?topic=a", &[]);
        assert!(matches!(stream, Admission::Stream(start) if start.start.gap.is_none()));
        let old = [httparse::Header { name: "Last-Event-ID", value: b"1-0" }];
        let stream = admit(&admissions, "GET", "/api/v1/events?topic=a", &old);
        assert!(matches!(stream, Admission::Stream(start) if start.start.gap.is_some()));
        for (method, target) in [
            ("POST", "/api/v1/events"),
            ("GET", "/"),
            ("GET", "/api/v1/events"),
            ("GET", "/api/v1/events/1-0?topic=a"),
            ("GET", "http://hub.example/api/v1/events?topic=a"),
            ("OPTIONS", "*"),
        ] {
            assert!(matches!(admit(&admissions, method, target, &[]), Admission::HandOver), "{method} {target}");
        }
    }

    #[test]
    fn what_may_need_the_disk_is_looked_up_later() {
        let admissions = Admissions(Bench::dev().hub);
        let Admission::Later(Work::Seeking, _, resolve) =
            admit(&admissions, "GET", "/api/v1/events?topic=a&lastId=mine", &[])
        else {
            panic!("a publisher's id is looked up on the shard");
        };
        let Admission::Stream(start) = resolve() else { panic!("it is no stream") };
        assert_eq!(start.start.gap.map(|gap| gap.reason), Some(GapReason::Unknown));
    }

    #[test]
    fn patterns_that_take_long_to_read_are_read_later() {
        let admissions = Admissions(Bench::dev().hub);
        let events = |query: &str| admit(&admissions, "GET", &format!("/api/v1/events?{query}"), &[]);
        assert!(matches!(events("pattern=/a/*"), Admission::Stream(_)));
        for (query, is_stream) in [("pattern=/(a|b)", true), ("pattern=/(a", false)] {
            let Admission::Later(Work::Reading, _, decide) = events(query) else {
                panic!("{query} is read on the shard")
            };
            match decide() {
                Admission::Stream(_) => assert!(is_stream, "{query}"),
                Admission::HandOver => assert!(!is_stream, "{query}"),
                Admission::Later(..) => panic!("{query} is put off again"),
            }
        }
        // The place is sought by others than those who read.
        let Admission::Later(Work::Reading, _, decide) = events("pattern=/(a|b)&lastId=mine") else {
            panic!("it is read on the shard");
        };
        assert!(matches!(decide(), Admission::Later(Work::Seeking, ..)));
    }

    #[test]
    fn every_refusal_is_an_answer_that_closes() {
        let admissions = Admissions(Bench::dev().hub);
        for (refusal, status) in [
            (Refusal::HeadTimeout, "408"),
            (Refusal::HeadTooLarge, "431"),
            (Refusal::HeadMalformed, "400"),
            (Refusal::NotIntroduced, "400"),
            (Refusal::TooManyStreams, "503"),
            (Refusal::TooManyStreamsPerAddress, "429"),
            (Refusal::TooManyUndecided, "503"),
            (Refusal::UndecidedTimeout, "503"),
            (Refusal::LogUnreadable, "503"),
        ] {
            let answer = String::from_utf8(admissions.refuse(refusal, ClientAddress::Unix)).expect("text");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            assert_eq!(answer.matches("connection: close\r\n").count(), 1, "{answer}");
        }
    }
}
