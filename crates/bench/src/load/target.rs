use std::net::{SocketAddr, ToSocketAddrs};

use super::plan::Plan;
use super::template::{Place, Template, Values};
use crate::BenchError;

/// A request that is made again and again, with other values in it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) address: SocketAddr,
    host: String,
    method: String,
    target: Template,
    headers: Vec<Template>,
    body: Option<Template>,
}

/// What is put under load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) subscribe: Request,
    pub(crate) publish: Request,
    /// Those of subscribers, which take turns with them; none, if they need none.
    pub(crate) tokens: Vec<String>,
    /// Its process, if it runs on this machine.
    pub(crate) process: Option<u32>,
}

impl Target {
    /// Whether it goes with a plan.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), BenchError> {
        if plan.topics > 1 && !(self.subscribe.has(Place::Topic) && self.publish.has(Place::Topic)) {
            let what = "with several topics, subscriptions and events say which: write {topic} in both";
            return Err(BenchError::Usage(what.to_owned()));
        }
        let wrong =
            self.tokens.iter().position(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()));
        match wrong {
            Some(number) => Err(BenchError::Usage(format!("token {} is none: write one a line", number + 1))),
            None if self.publish.has(Place::Token) => {
                Err(BenchError::Usage("{token} is the subscriber's: a publisher has none".to_owned()))
            }
            None if self.subscribe.has(Place::Token) == self.tokens.is_empty() => {
                let what = "subscribers' tokens and {token} in their requests go together";
                Err(BenchError::Usage(what.to_owned()))
            }
            None => Ok(()),
        }
    }
}

impl Request {
    /// One that asks for an event stream.
    pub(crate) fn subscribe(url: &str, headers: &[String]) -> Result<Request, BenchError> {
        let mut request = Request::new("GET", url, headers, None)?;
        request.headers.push(Template::parse("Accept: text/event-stream"));
        Ok(request)
    }

    /// One that publishes an event.
    pub(crate) fn publish(method: &str, url: &str, headers: &[String], body: &str) -> Result<Request, BenchError> {
        let request = Request::new(method, url, headers, Some(Template::parse(body)))?;
        if !request.has(Place::Payload) {
            return Err(BenchError::Usage("the payload has no place: write {payload} in the body".to_owned()));
        }
        if request.templates().any(Template::goes_on_behind_payload) {
            let what = "where the payload ends is not to be seen: behind {payload}, write no letter, digit, - or ~";
            return Err(BenchError::Usage(what.to_owned()));
        }
        Ok(request)
    }

    fn new(method: &str, url: &str, headers: &[String], body: Option<Template>) -> Result<Request, BenchError> {
        let usage = |what: String| BenchError::Usage(format!("{url}: {what}"));
        let rest = url.strip_prefix("http://").ok_or_else(|| usage("only http:// is spoken".to_owned()))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let address = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
            host.to_socket_addrs()
        } else {
            format!("{host}:80").to_socket_addrs()
        };
        let address = address.ok().and_then(|mut addresses| addresses.next());
        let address = address.ok_or_else(|| usage(format!("{host:?} is no address of a server")))?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_token(method) {
            return Err(BenchError::Usage(format!("{method:?} is no method")));
        }
        let breaks_lines = |text: &str| text.chars().any(char::is_control);
        if target.contains(' ') || breaks_lines(&target) || breaks_lines(host) {
            return Err(usage("a space or control character".to_owned()));
        }
        for header in headers {
            let name = header.split_once(':').map(|(name, _)| name);
            if !name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_graphic())) || breaks_lines(header) {
                return Err(BenchError::Usage(format!("{header:?} is no header: write NAME: VALUE")));
            }
        }
        Ok(Request {
            address,
            host: host.to_owned(),
            method: method.to_owned(),
            target: Template::parse(&target),
            headers: headers.iter().map(|header| Template::parse(header)).collect(),
            body,
        })
    }

    /// Whether it differs by this.
    pub(crate) fn has(&self, place: Place) -> bool {
        self.templates().any(|template| template.has(place))
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.headers.iter().chain(&self.body).chain(std::iter::once(&self.target))
    }

    /// Appends the whole request.
    pub(crate) fn write(&self, values: &Values<'_>, to: &mut Vec<u8>) {
        to.extend_from_slice(self.method.as_bytes());
        to.push(b' ');
        self.target.write(values, to);
        to.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        to.extend_from_slice(self.host.as_bytes());
        for header in &self.headers {
            to.extend_from_slice(b"\r\n");
            header.write(values, to);
        }
        let Some(body) = &self.body else {
            to.extend_from_slice(b"\r\n\r\n");
            return;
        };
        // Its length comes first and is known last.
        let mut content = Vec::new();
        body.write(values, &mut content);
        to.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", content.len()).as_bytes());
        to.extend_from_slice(&content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &Request, values: &Values<'_>) -> String {
        let mut bytes = Vec::new();
        request.write(values, &mut bytes);
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn requests_are_filled_in() {
        let headers = ["Authorization: Bearer {connection}".to_owned()];
        let request = Request::subscribe("http://127.0.0.1:7788/events?topic={topic}", &headers).expect("a request");
        let values = Values { topic: 4, connection: 9, ..Values::default() };
        assert_eq!(
            text(&request, &values),
            "GET /events?topic=4 HTTP/1.1\r\nHost: 127.0.0.1:7788\r\nAuthorization: Bearer 9\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        let request = Request::publish("PUT", "http://127.0.0.1?x", &[], "{topic}:{payload}").expect("a request");
        assert_eq!(request.address.port(), 80);
        let values = Values { topic: 12, payload: b"abc", ..Values::default() };
        assert_eq!(text(&request, &values), "PUT /?x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 6\r\n\r\n12:abc");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for url in ["https://127.0.0.1/", "127.0.0.1:80", "http://", "http://127.0.0.1:x/", "http://127.0.0.1/a b"] {
            assert!(Request::subscribe(url, &[]).is_err(), "{url}");
        }
        for header in ["x", "x y: z", "x: y\r\nz: 1"] {
            assert!(Request::subscribe("http://127.0.0.1/", &[header.to_owned()]).is_err(), "{header}");
        }
        assert!(Request::publish("POST", "http://127.0.0.1/", &[], "{topic}").is_err());
        assert!(Request::publish("POST", "http://127.0.0.1/", &[], "{payload}x").is_err());
        assert!(Request::publish("PO ST", "http://127.0.0.1/", &[], "{payload}").is_err());
    }
}
