use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tidewire_sim::{Asked, Connection, End, Filter, Item, Moment, Topics};
use tidewire_sse::{Decoder, Limits, Message};

use crate::{Chunks, Frames, Http, Response};

/// One event stream that a test reads item by item.
#[derive(Debug)]
pub struct EventStream {
    http: Http,
    decoder: Decoder,
    /// The head of the answer, with its body if it is not a stream.
    pub head: Response,
}

impl EventStream {
    /// Opens a stream and reads its head.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub fn open(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> io::Result<EventStream> {
        EventStream::open_on(Http::connect(address)?, target, headers)
    }

    /// Opens a stream on a connection that may have been used before.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub fn open_on(mut http: Http, target: &str, headers: &[(&str, &str)]) -> io::Result<EventStream> {
        http.send("GET", target, headers, b"")?;
        EventStream::receive_on(http)
    }

    /// Reads the head of a stream that has been asked for.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub fn receive_on(mut http: Http) -> io::Result<EventStream> {
        let (status, headers) = http.receive_head()?;
        let head = Response { status, headers, body: Vec::new() };
        Ok(EventStream { http, decoder: Decoder::new(Limits::default()), head })
    }

    /// The connection, for what this does not do.
    pub fn connection(&mut self) -> &mut Http {
        &mut self.http
    }

    /// The next event, the hub's own among them; `None` at the end of the stream, with its last chunk.
    ///
    /// # Errors
    /// When the stream is cut, or silent for a minute.
    pub fn event(&mut self) -> io::Result<Option<Message>> {
        loop {
            match self.item()? {
                Some(tidewire_sse::Item::Event(message)) => return Ok(Some(message)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// What the stream shows next, so many times: gaps as reason and what was asked, events as `event` and their data.
    /// Checkpoints are left out.
    ///
    /// # Panics
    /// When the stream ends before that, is cut, or silent for a minute.
    pub fn shows(&mut self, count: usize) -> Vec<(String, String)> {
        let mut shown = Vec::new();
        while shown.len() < count {
            let event = self.event().expect("the stream goes on").expect("the stream goes on");
            match event.event_type.as_str() {
                "tidewire.checkpoint" => {}
                "tidewire.gap" => {
                    let gap: Value = serde_json::from_str(&event.data).expect("a gap's data is JSON");
                    let text = |name: &str| gap[name].as_str().expect("a gap names it").to_owned();
                    shown.push((text("reason"), text("requested")));
                }
                _ => shown.push(("event".to_owned(), event.data)),
            }
        }
        shown
    }

    /// The next item of any kind; `None` at the end of the stream, with its last chunk.
    ///
    /// # Errors
    /// When the stream is cut, or silent for a minute.
    pub fn item(&mut self) -> io::Result<Option<tidewire_sse::Item>> {
        loop {
            match self.decoder.next() {
                Some(Ok(item)) => return Ok(Some(item)),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => {}
            }
            match self.http.chunk()? {
                Some(chunk) => self.decoder.feed(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The next event of a publisher; the hub's own are passed over.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn published(&mut self) -> Message {
        loop {
            let event = self.event().expect("the stream goes on").expect("the stream goes on");
            if !event.event_type.starts_with("tidewire.") {
                return event;
            }
        }
    }
}

/// One connection's bytes, taken apart and written down.
#[derive(Debug)]
pub(crate) struct Parser {
    head: Vec<u8>,
    status: Option<u16>,
    chunks: Chunks,
    frames: Frames,
    decoder: Decoder,
}

impl Parser {
    pub(crate) fn new(asked: &Asked) -> Parser {
        let id = if let Asked::Id(id) = asked { id.as_str() } else { "" };
        Parser {
            head: Vec::new(),
            status: None,
            chunks: Chunks::default(),
            frames: Frames::default(),
            decoder: Decoder::with_last_event_id(Limits::default(), id),
        }
    }

    /// Takes bytes apart and writes down what they hold. Says what is wrong with them.
    pub(crate) fn feed(&mut self, bytes: &[u8], connection: &mut Connection, now: Moment) -> Result<(), String> {
        if self.status.is_some() {
            return self.body(bytes, connection);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(()) };
        let head = std::mem::take(&mut self.head);
        let line = String::from_utf8_lossy(&head[..end]).lines().next().unwrap_or_default().to_owned();
        let status: u16 = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| format!("a status line like {line:?}"))?;
        self.status = Some(status);
        if status == 200 {
            connection.head = Some(now);
        }
        self.body(&head[end + 4..], connection)
    }

    /// How the connection ended, if it ended now.
    pub(crate) fn end(&self) -> End {
        match self.status {
            None => End::InHead,
            Some(200) if self.chunks.is_over() => End::Whole,
            Some(200) if self.chunks.is_inside() || self.frames.is_inside() => End::InFrame,
            Some(200) => End::BetweenFrames,
            Some(status) => End::Refused(status),
        }
    }

    fn body(&mut self, bytes: &[u8], connection: &mut Connection) -> Result<(), String> {
        if self.status != Some(200) {
            return Ok(());
        }
        let Parser { chunks, frames, decoder, .. } = self;
        chunks.feed(bytes, |content| {
            frames.feed(content);
            decoder.feed(content);
        })?;
        while let Some(item) = decoder.next() {
            if let tidewire_sse::Item::Event(message) = item.map_err(|error| error.to_string())? {
                connection.items.extend(seen(&message.id, &message.event_type, &message.data));
            }
        }
        Ok(())
    }
}

/// An event as the checker has it; `None` for those of the hub that it does not ask about.
pub(crate) fn seen(id: &str, event_type: &str, data: &str) -> Option<Item> {
    match event_type {
        "tidewire.checkpoint" => Some(Item::checkpoint(id)),
        "tidewire.gap" => {
            // In WebKit, what is left of an event that was cut comes before it.
            let gap: Value = serde_json::from_str(data.lines().last().unwrap_or_default()).unwrap_or_default();
            let text = |name: &str| gap[name].as_str().unwrap_or_default().to_owned();
            Some(Item::gap(id, &text("requested"), &text("resumed_from"), &text("reason")))
        }
        _ if event_type.starts_with("tidewire.") => None,
        _ => Some(Item::event(id, event_type, data)),
    }
}

/// The target that asks for this.
pub(crate) fn target(filter: &Filter, asked: &Asked) -> String {
    let mut query = Vec::new();
    match &filter.topics {
        Topics::Any => query.push("topic=*".to_owned()),
        Topics::These(topics) => query.extend(topics.iter().map(|topic| format!("topic={}", percent(topic)))),
    }
    query.extend(filter.types.iter().map(|event_type| format!("type={}", percent(event_type))));
    match asked {
        Asked::Live | Asked::Id(_) => {}
        Asked::Earliest => query.push("from=earliest".to_owned()),
        Asked::Last(count) => query.push(format!("from=-{count}")),
    }
    format!("/api/v1/events?{}", query.join("&"))
}

/// The bytes of a request for a stream.
pub(crate) fn request(address: SocketAddr, filter: &Filter, asked: &Asked, headers: &[(String, String)]) -> Vec<u8> {
    let target = target(filter, asked);
    let mut head = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Asked::Id(id) = asked {
        head.push_str(&format!("last-event-id: {id}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(wire: &[u8]) -> (Connection, End) {
        let mut results = Vec::new();
        for size in [1, 2, 7, wire.len()] {
            let mut connection = Connection::begin(Asked::Live, Moment(0));
            let mut parser = Parser::new(&Asked::Live);
            for piece in wire.chunks(size) {
                parser.feed(piece, &mut connection, Moment(1)).unwrap();
            }
            results.push((connection, parser.end()));
        }
        let (first, end) = results.pop().unwrap();
        for (other, other_end) in results {
            assert_eq!((&other.items, other_end), (&first.items, end));
        }
        (first, end)
    }

    #[test]
    fn a_cut_is_told_by_where_it_falls() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let event = "1f\r\nid: #1-2\nevent: t\ndata: hello\n\n\r\n";
        let whole = format!("{head}{event}0\r\n\r\n");
        for end in 1..=whole.len() {
            let (connection, ended) = fed(&whole.as_bytes()[..end]);
            let (events_begin, events_end) = (head.len(), head.len() + event.len());
            let expected = match end {
                _ if end < events_begin => End::InHead,
                _ if end == events_begin || end == events_end => End::BetweenFrames,
                _ if end < whole.len() => End::InFrame,
                _ => End::Whole,
            };
            assert_eq!(ended, expected, "cut after {end} bytes");
            assert_eq!(connection.head.is_some(), end >= events_begin);
        }
        let (connection, _) = fed(whole.as_bytes());
        assert_eq!(connection.items, [Item::event("#1-2", "t", "hello")]);
    }

    #[test]
    fn other_statuses_are_refusals() {
        assert_eq!(fed(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\nno").1, End::Refused(503));
    }

    #[test]
    fn the_hubs_own_events_are_told_apart() {
        assert_eq!(seen("#1-1", "tidewire.checkpoint", ""), Some(Item::checkpoint("#1-1")));
        let gap = r##"{"requested":"x","resumed_from":"#1-1","reason":"unknown"}"##;
        assert_eq!(seen("#1-1", "tidewire.gap", gap), Some(Item::gap("#1-1", "x", "#1-1", "unknown")));
        assert_eq!(seen("#1-1", "tidewire.session", "{}"), None);
    }

    #[test]
    fn a_target_names_what_is_asked() {
        let filter = Filter::topics(["a b", "ü"]).types(["t"]);
        assert_eq!(target(&filter, &Asked::Last(5)), "/api/v1/events?topic=a%20b&topic=%C3%BC&type=t&from=-5");
        assert_eq!(target(&Filter::any(), &Asked::Live), "/api/v1/events?topic=*");
    }
}
