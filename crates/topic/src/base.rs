use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use url::{Position, Url};

/// The URL that patterns and topics are relative to: the hub's own. A clone shares it.
#[derive(Clone)]
pub struct BaseUrl(Arc<Base>);

struct Base {
    url: Url,
    /// What locations of the same scheme, host and port begin with.
    origin: Arc<str>,
    /// The path up to its last slash, if a plain reference may simply be put behind it.
    plain_directory: Option<Box<str>>,
}

/// The text is no URL, or none that a reference can be resolved against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{base_url:?} is no URL that patterns can be relative to")]
pub struct BaseUrlError {
    /// The text given.
    pub base_url: String,
}

/// A topic as a URL, taken apart as patterns ask for it.
pub(crate) struct Location {
    /// `scheme/host/port/path`: the first three have no slash.
    key: String,
    scheme_end: usize,
    host_end: usize,
    path_at: usize,
    /// What more there is, unless the topic is a path alone.
    url: Option<Url>,
}

impl BaseUrl {
    /// Takes a text for a base URL.
    ///
    /// # Errors
    /// When it is no URL, or one without a path, as `mailto:`.
    pub fn parse(base_url: &str) -> Result<BaseUrl, BaseUrlError> {
        let url = Url::parse(base_url).ok().filter(|url| !url.cannot_be_a_base());
        let url = url.ok_or_else(|| BaseUrlError { base_url: base_url.to_owned() })?;
        let is_plain =
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
        let directory = url.path().rfind('/').map(|slash| url.path()[..=slash].into());
        let plain_directory = directory.filter(|_| is_plain);
        let location = Location::of_url(url.clone());
        let origin = location.key[..location.path_at].into();
        Ok(BaseUrl(Arc::new(Base { url, origin, plain_directory })))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.url.as_str()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0.url
    }

    /// What locations of the same scheme, host and port begin with.
    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    pub(crate) fn shared_origin(&self) -> &Arc<str> {
        &self.0.origin
    }

    /// The topic as a URL. `None` if it is no URL reference.
    pub(crate) fn locate(&self, topic: &str) -> Option<Location> {
        self.locate_plain(topic).or_else(|| self.0.url.join(topic).ok().map(Location::of_url))
    }

    /// Whether it is known, without locating it, that a topic's location begins otherwise than with this base's origin
    /// and then `prefix`.
    pub(crate) fn rules_out(&self, topic: &str, prefix: &str) -> bool {
        let Some(directory) = self.0.plain_directory.as_deref() else { return false };
        let may_begin_so = if topic.starts_with('/') {
            topic.starts_with(prefix)
        } else {
            prefix.strip_prefix(directory).is_none_or(|rest| topic.starts_with(rest))
        };
        !may_begin_so && is_plain(topic.as_bytes())
    }

    /// Resolves what the parser would only copy, which takes it a microsecond: most topics.
    fn locate_plain(&self, topic: &str) -> Option<Location> {
        let directory = self.0.plain_directory.as_deref()?;
        if !is_plain(topic.as_bytes()) {
            return None;
        }
        let origin = self.origin();
        let mut key = String::with_capacity(origin.len() + directory.len() + topic.len());
        key.push_str(origin);
        if !topic.starts_with('/') {
            key.push_str(directory);
        }
        key.push_str(topic);
        let scheme_end = self.0.url.scheme().len();
        let host_end = scheme_end + 1 + self.0.url.host_str().map_or(0, str::len);
        Some(Location { key, scheme_end, host_end, path_at: origin.len(), url: None })
    }
}

/// The bytes that a path has as they are, and that mean nothing else in a reference.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"/-_.~@,=+!$&*()0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether a topic is a path and nothing else, and is written as a URL writes it.
fn is_plain(topic: &[u8]) -> bool {
    let begins_plain = match topic {
        [b'/', second, ..] => !b"/.".contains(second),
        [first, ..] => *first == b'/' || first.is_ascii_alphanumeric(),
        [] => false,
    };
    // A segment that begins with a dot may stand for another.
    begins_plain && topic.iter().all(|&byte| PLAIN[usize::from(byte)]) && !topic.windows(2).any(|two| two == b"/.")
}

impl Location {
    fn of_url(url: Url) -> Location {
        let port = &url[Position::BeforePort..Position::AfterPort];
        let (scheme, host) = (url.scheme(), url.host_str().unwrap_or_default());
        let key = format!("{scheme}/{host}/{port}/{}", url.path());
        let scheme_end = scheme.len();
        let host_end = scheme_end + 1 + host.len();
        Location { key, scheme_end, host_end, path_at: host_end + 1 + port.len() + 1, url: Some(url) }
    }

    /// `scheme/host/port/path`.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.key[..self.scheme_end]
    }

    pub(crate) fn host(&self) -> &str {
        &self.key[self.scheme_end + 1..self.host_end]
    }

    pub(crate) fn port(&self) -> &str {
        &self.key[self.host_end + 1..self.path_at - 1]
    }

    pub(crate) fn path(&self) -> &str {
        &self.key[self.path_at..]
    }

    pub(crate) fn search(&self) -> &str {
        self.url.as_ref().and_then(Url::query).unwrap_or_default()
    }

    pub(crate) fn hash(&self) -> &str {
        self.url.as_ref().and_then(Url::fragment).unwrap_or_default()
    }

    pub(crate) fn username(&self) -> &str {
        self.url.as_ref().map(Url::username).unwrap_or_default()
    }

    pub(crate) fn password(&self) -> &str {
        self.url.as_ref().and_then(Url::password).unwrap_or_default()
    }
}

impl Ord for BaseUrl {
    fn cmp(&self, other: &BaseUrl) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.as_str().cmp(other.as_str()) }
    }
}

impl PartialOrd for BaseUrl {
    fn partial_cmp(&self, other: &BaseUrl) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for BaseUrl {
    fn eq(&self, other: &BaseUrl) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for BaseUrl {}

impl Hash for BaseUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(location: &Location) -> [&str; 9] {
        let Location { key, .. } = location;
        let (scheme, host, port, path) = (location.scheme(), location.host(), location.port(), location.path());
        let (search, hash) = (location.search(), location.hash());
        [key, scheme, host, port, path, search, hash, location.username(), location.password()]
    }

    #[test]
    fn a_url_is_taken_apart() {
        let base = BaseUrl::parse("https://hub.example:8443/a/b").expect("a URL");
        assert_eq!(base.origin(), "https/hub.example/8443/");
        let location = base.locate("//u:p@x.example/y?z#w").expect("a reference");
        assert_eq!(
            parts(&location),
            [
                "https/x.example//".to_owned() + "/y",
                "https".into(),
                "x.example".into(),
                String::new(),
                "/y".into(),
                "z".into(),
                "w".into(),
                "u".into(),
                "p".into()
            ]
        );
        assert_eq!(base.locate("urn:uuid:1").expect("a URL").key(), "urn///uuid:1");
        assert_eq!(base.locate("c").expect("a reference").path(), "/a/c");
        assert!(base.locate("https://[").is_none());
        for text in ["", "hub.example", "/hub", "mailto:hub@a.example"] {
            assert_eq!(BaseUrl::parse(text), Err(BaseUrlError { base_url: text.to_owned() }));
        }
    }

    proptest! {
        /// The oracle: the parser of URLs, which the short way leaves out.
        #[test]
        fn the_short_way_ends_where_the_long_one_does(
            topic in prop_oneof!["[a/.:~%?#é@=*-]{0,12}", "[a-c./]{1,10}", "/?[ -~]{0,10}"],
            base in prop::sample::select(&["https://hub.example", "http://h:80/a/b", "http://1.2.3.4:7788/x/", "https://u@h/", "file:///c/d", "ws://h/"][..]),
            prefix in "/[a-c./]{0,4}",
        ) {
            let base = BaseUrl::parse(base).expect("a URL");
            let long = base.url().join(&topic).ok().map(Location::of_url);
            if let Some(short) = base.locate_plain(&topic) {
                let long = long.as_ref().expect("what is plain is a reference");
                prop_assert_eq!(parts(&short), parts(long));
            }
            prop_assert_eq!(base.locate(&topic).is_some(), long.is_some());
            if base.rules_out(&topic, &prefix) {
                let begin = format!("{}{prefix}", base.origin());
                prop_assert!(!long.is_some_and(|long| long.key().starts_with(&begin)), "{} and {}", topic, prefix);
            }
        }
    }

    #[test]
    fn common_topics_go_the_short_way() {
        let base = BaseUrl::parse("https://hub.example").expect("a URL");
        for topic in ["/users/alice/inbox", "orders/42", "a", "chat.room-1/x", "/"] {
            assert!(base.locate_plain(topic).is_some(), "{topic}");
        }
        for topic in ["//a/b", "/a/../b", "./a", "urn:uuid:1", "https://a/b", "/a?b", "/%41", "/é", "/a b"] {
            assert!(base.locate_plain(topic).is_none(), "{topic}");
        }
    }
}
