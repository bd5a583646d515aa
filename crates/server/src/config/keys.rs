use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::rules::RuleTexts;
use super::value::{Bound, Size, Value};
use super::{Durability, LogFormat, LogLevel, PublicUrl, RequestLogging};
use crate::AllowedOrigins;

/// A key of the configuration. The same key is `name` in the file, `TIDEWIRE_<NAME>` in the
/// environment, and `--<name>` with hyphens as a flag.
#[derive(Debug)]
pub struct Key {
    /// The name in the file.
    pub name: &'static str,
    /// The kind of value, for a usage line.
    pub value: &'static str,
    /// The default as text; `None` where it is worked out, as `help` says.
    pub default: Option<&'static str>,
    /// What it does, its unit and what it costs.
    pub help: &'static str,
    /// Whether a hub that runs takes another value on SIGHUP; else it needs a restart.
    pub is_live: bool,
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
    /// The value as it is held, to be compared.
    pub(super) show: fn(&Settings) -> String,
    /// Takes the value from other settings.
    pub(super) take: fn(&mut Settings, &Settings),
}

impl Key {
    /// The key with this name in the file.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// What it does, in which unit and between which bounds, and what it costs: as the documentation says it.
    #[must_use]
    pub fn about(&self) -> String {
        let row = documented().find(|[name, ..]| *name == self.name);
        let [.., about] = row.expect("a test looks for each key in the documentation");
        without_links(about)
    }

    /// The flag, without the two hyphens before it.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// What the sources said, typed, and not yet checked as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) listen: Option<SocketAddr>,
    pub(super) admin_listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) public_url: Option<PublicUrl>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) anonymous: Option<bool>,
    pub(super) cors_origins: Option<AllowedOrigins>,
    pub(super) durability: Option<Durability>,
    pub(super) memory_bytes: Option<Size>,
    pub(super) shards: Option<usize>,
    pub(super) heartbeat: Option<Duration>,
    pub(super) stall_timeout: Option<Duration>,
    pub(super) head_timeout: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) connection_requests: Option<usize>,
    pub(super) decide_timeout: Option<Duration>,
    pub(super) retry: Option<Duration>,
    pub(super) max_streams: Option<usize>,
    pub(super) max_streams_per_address: Option<usize>,
    pub(super) max_connections: Option<usize>,
    pub(super) http2_max_streams: Option<usize>,
    pub(super) event_bytes: Option<Size>,
    pub(super) body_bytes: Option<Size>,
    pub(super) bodies_in_flight_bytes: Option<Size>,
    pub(super) batch_events: Option<usize>,
    pub(super) tail_bytes: Option<Size>,
    pub(super) segment_bytes: Option<Size>,
    pub(super) retention_bytes: Option<Size>,
    pub(super) retention_age: Option<Duration>,
    pub(super) retention_rules: Option<RuleTexts>,
    pub(super) retention_catch_up: Option<Duration>,
    pub(super) erase_within: Option<Duration>,
    pub(super) scrub_rate: Option<Size>,
    pub(super) append_queue_bytes: Option<Size>,
    pub(super) idempotence_window: Option<Duration>,
    pub(super) idempotence_entries: Option<usize>,
    pub(super) drain_delay: Option<Duration>,
    pub(super) drain_timeout: Option<Bound>,
    pub(super) stuck_after: Option<Duration>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) request_log: Option<RequestLogging>,
}

fn put<V: Value>(slot: &mut Option<V>, text: &str) -> Result<(), String> {
    *slot = Some(V::parse(text)?);
    Ok(())
}

/// A row of the table: the field of [`Settings`] and the key have one name.
macro_rules! key {
    // What a hub that runs takes another value for.
    (live $field:ident, $value:literal, $default:expr, $help:literal) => {
        Key { is_live: true, ..key!($field, $value, $default, $help) }
    };
    ($field:ident, $value:literal, $default:expr, $help:literal) => {
        Key {
            name: stringify!($field),
            value: $value,
            default: $default,
            help: $help,
            is_live: false,
            set: |settings, text| put(&mut settings.$field, text),
            show: |settings| format!("{:?}", settings.$field),
            take: |settings, other| settings.$field.clone_from(&other.$field),
        }
    };
}

/// The rows of the tables of keys in the documentation: name, value, default, and what it does.
fn documented() -> impl Iterator<Item = [&'static str; 4]> {
    include_str!("../../../../docs/configuration.md").lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, value, default, about, ""] = cells[..] else { return None };
        Some([name.strip_prefix('`')?.strip_suffix('`')?, value, default.trim_matches('`'), about])
    })
}

/// Markdown whose links are their texts.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, (label, behind))) =
        rest.split_once('[').and_then(|(before, link)| Some((before, link.split_once("](")?)))
    {
        plain.push_str(before);
        plain.push_str(label);
        rest = behind.split_once(')').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// Every key.
pub const KEYS: &[Key] = &[
    key!(listen, "ADDRESS", Some("127.0.0.1:7788"), "Where clients connect; port 0 takes a free one"),
    key!(admin_listen, "ADDRESS", Some("127.0.0.1:7789"), "Where health and metrics are"),
    key!(data_dir, "FOLDER", Some("./tidewire-data"), "The log's folder; one hub at a time has it"),
    key!(
        public_url,
        "URL",
        None,
        "The URL by which clients know the hub, and the audience of tokens that name one; required without --dev, where it is that of listen"
    ),
    key!(
        live key_file,
        "FILE",
        None,
        "The secret that tokens are signed with (HS256), as `tidewire token new-key FILE` makes it; required without --dev"
    ),
    key!(
        tls_cert,
        "FILE",
        None,
        "The certificate of the public listener and those above it, in PEM: it speaks TLS then, and reads both files again when they change"
    ),
    key!(tls_key, "FILE", None, "The key of that certificate, in PEM"),
    key!(live anonymous, "BOOL", None, "Whether public events may be read without a token; false, and true with --dev"),
    key!(
        live cors_origins,
        "ORIGINS",
        None,
        "Whose pages may use the hub from elsewhere, as 'https://app.example, http://localhost:5173', or * for all, without cookies"
    ),
    key!(
        durability,
        "commit|os|memory",
        Some("commit"),
        "What an event is before it is shown: synced to disk, given to the system, or in memory only"
    ),
    key!(memory_bytes, "SIZE", Some("256MiB"), "What the log keeps with durability = \"memory\""),
    key!(shards, "NUMBER", None, "Threads that serve streams; as many as there are cores"),
    key!(heartbeat, "DURATION", Some("20s"), "No stream is silent for longer; 2s to 10min"),
    key!(stall_timeout, "DURATION", Some("2min"), "A stream whose client takes nothing for so long is closed"),
    key!(head_timeout, "DURATION", Some("10s"), "How long a request's head may take, and each part of its body"),
    key!(idle_timeout, "DURATION", Some("75s"), "How long a connection may stand idle between two requests; 1s to 1h"),
    key!(
        connection_requests,
        "NUMBER",
        Some("1000000"),
        "Requests on a connection, at most; the answer to the last one says that it is closed"
    ),
    key!(
        decide_timeout,
        "DURATION",
        Some("30s"),
        "How long a stream may wait for its place in the log to be found, or its patterns to be read; then 503"
    ),
    key!(
        live retry,
        "DURATION",
        Some("2s"),
        "After how long clients are told to reconnect, each up to a quarter more or less"
    ),
    key!(max_streams, "NUMBER", None, "Streams at a time, at most; as many as open files allow"),
    key!(
        max_streams_per_address,
        "NUMBER",
        None,
        "Streams at a time from one address, or one /64 of IPv6, at most; 10000, and with --dev as many as there may be"
    ),
    key!(max_connections, "NUMBER", Some("1024"), "Connections at a time that are not streams, at most"),
    key!(http2_max_streams, "NUMBER", Some("256"), "Requests and streams at a time on an HTTP/2 connection, at most"),
    key!(live event_bytes, "SIZE", Some("1MiB"), "An event's data, at most"),
    key!(body_bytes, "SIZE", Some("8MiB"), "A request's body, at most; one under way takes so much memory"),
    key!(
        bodies_in_flight_bytes,
        "SIZE",
        None,
        "What the bodies under way take of memory, at most; 64 MiB, or body_bytes if that is more"
    ),
    key!(live batch_events, "NUMBER", Some("1000"), "Events in one request, at most"),
    key!(tail_bytes, "SIZE", Some("64MiB"), "The newest events, kept in memory for streams"),
    key!(segment_bytes, "SIZE", Some("64MiB"), "A file of the log; retention removes whole files"),
    key!(
        live retention_bytes,
        "SIZE",
        None,
        "What the log keeps on disk; 10 GiB, or 80 % of the file system if that is less"
    ),
    key!(live retention_age, "DURATION", Some("7d"), "For how long the log keeps an event; 1s to 36500d"),
    key!(
        retention_rules,
        "RULES",
        None,
        "Topics whose events are kept for less long, as '/chat/*=1h, /logs/*=1d'; in the file, [[retention_rules]] with pattern and age"
    ),
    key!(
        retention_catch_up,
        "DURATION",
        Some("24h"),
        "The age that events may gain at most while the hub does not run; up to 36500d"
    ),
    key!(erase_within, "DURATION", Some("1h"), "By when the bytes of what was erased are overwritten; 1s to 7d"),
    key!(
        scrub_rate,
        "SIZE",
        Some("1MiB"),
        "How much of the log's full files is read in a second to check it, at most; 0 checks nothing"
    ),
    key!(
        append_queue_bytes,
        "SIZE",
        Some("64MiB"),
        "What may wait to be committed before publishers are told to come later"
    ),
    key!(
        idempotence_window,
        "DURATION",
        Some("10min"),
        "For how long a publisher's id stands for the event first published with it"
    ),
    key!(
        idempotence_entries,
        "NUMBER",
        Some("1000000"),
        "Publishers' ids that a log in memory holds for that window, at most, of about 100 bytes each"
    ),
    key!(
        live drain_delay,
        "DURATION",
        None,
        "How long the hub that is told to stop goes on as before, and says that it is not ready; 2s, and 0 with --dev"
    ),
    key!(
        live drain_timeout,
        "DURATION|none",
        None,
        "Over how long streams are then ended; 30s, and 0 with --dev. 0 ends all at once, none waits for their clients to leave"
    ),
    key!(
        stuck_after,
        "DURATION",
        Some("10s"),
        "After how long a thread that does nothing though it has work makes /health/live fail; 1s to 1h"
    ),
    key!(live log_level, "error|warn|info|debug", Some("info"), "What is told on standard error"),
    key!(log_format, "text|json", Some("text"), "How it is told: lines of text, or of JSON"),
    key!(
        live request_log,
        "none|refused|all",
        Some("none"),
        "Of which requests there is told a line: of none, of those that are refused, or of all, and two for each stream"
    ),
];

impl Settings {
    /// The defaults, for what no source set.
    pub(super) fn defaults() -> Settings {
        let mut settings = Settings::default();
        for key in KEYS {
            if let Some(default) = key.default {
                (key.set)(&mut settings, default).expect("a test parses every default");
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_parses_and_names_are_unique() {
        Settings::defaults();
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.name != key.name), "{}", key.name);
            assert!(!key.help.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn the_documentation_lists_the_same_keys() {
        let documented: Vec<(&str, String, &str)> =
            documented().map(|[name, value, default, _]| (name, value.replace(", ", "|"), default)).collect();
        for key in KEYS {
            let row = (key.name, key.value.to_owned(), key.default.unwrap_or("none"));
            assert!(documented.contains(&row), "{row:?} is not in docs/configuration.md");
        }
        assert_eq!(documented.len(), KEYS.len());
    }

    #[test]
    fn a_link_is_told_by_its_text() {
        assert_eq!(without_links("See [below](#rules), and [this](a.md)."), "See below, and this.");
        assert_eq!(without_links("none, [no link"), "none, [no link");
        let about = Key::named("durability").expect("a key").about();
        assert!(about.contains("synced to disk") && !about.contains("]("), "{about}");
    }
}
