use std::sync::{Mutex, PoisonError};

use http::request::Parts;

/// What a connection's service tells its driver: that the connection has turned into a stream.
///
/// The connection may be taken apart only when everything answered before is with the system.
/// hyper flushes the socket only once its own buffer is empty, so a flush that is done after the
/// stream was asked for says so.
#[derive(Debug, Default)]
pub(super) struct WayBack(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Serving,
    Asked(Vec<u8>),
    Flushed(Vec<u8>),
}

impl WayBack {
    /// A stream was asked for, with this head.
    pub(super) fn ask(&self, head: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Asked(head);
    }

    pub(super) fn flushed(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Asked(head) = &mut *state {
            *state = State::Flushed(std::mem::take(head));
        }
    }

    /// The head of the stream asked for, once everything before it is flushed.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Flushed(head) => {
                let head = std::mem::take(head);
                *state = State::Serving;
                Some(head)
            }
            State::Serving | State::Asked(_) => None,
        }
    }
}

/// A request's head as it may have come over the wire.
pub(super) fn head_bytes(parts: &Parts) -> Vec<u8> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(parts.method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_after_the_question_counts() {
        let way_back = WayBack::default();
        way_back.flushed();
        assert_eq!(way_back.take(), None);
        way_back.ask(b"head".to_vec());
        assert_eq!(way_back.take(), None);
        way_back.flushed();
        assert_eq!(way_back.take(), Some(b"head".to_vec()));
        assert_eq!(way_back.take(), None);
    }

    #[test]
    fn a_head_is_written_as_it_came() {
        let request = http::Request::get("http://hub.example/api/v1/events?topic=a%20b")
            .header("host", "hub.example")
            .header("Last-Event-ID", "é")
            .body(())
            .expect("a request");
        let head = head_bytes(&request.into_parts().0);
        let expected = "GET /api/v1/events?topic=a%20b HTTP/1.1\r\nhost: hub.example\r\nlast-event-id: é\r\n\r\n";
        assert_eq!(String::from_utf8(head).expect("text"), expected);
    }
}
