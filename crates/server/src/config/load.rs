use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidewire_auth::Secret;
use tidewire_log::RetentionRules;

use super::keys::Settings;
use super::rules::RuleTexts;
use super::{Config, KEYS, Key, PublicUrl, nearest};
use crate::system;
use crate::tls::TlsFiles;

/// What a variable of the environment begins with.
pub const ENVIRONMENT_PREFIX: &str = "TIDEWIRE_";

/// The variable that names the file. It begins as the keys' do, and is none.
const FILE_VARIABLE: &str = "TIDEWIRE_CONFIG";

/// The only key that the file has as tables.
const RULES: &str = "retention_rules";

/// A secret file may not be larger, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What `bodies_in_flight_bytes` is, unless one body may have more.
const BODIES_IN_FLIGHT_BYTES: u64 = 64 << 20;

/// What `drain_delay` is, but for a hub for development, before which nobody stands.
const DRAIN_DELAY: Duration = Duration::from_secs(2);

/// What `drain_timeout` is, but for a hub for development, whose developer waits for it to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What `max_streams_per_address` is, but for a hub for development: more than there are people behind most addresses,
/// and less than there are places, so that nobody takes them all from one.
const STREAMS_PER_ADDRESS: usize = 10_000;

/// Where the configuration comes from; a later source beats an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Whether this is a hub for development.
    pub dev: bool,
    /// A TOML file of keys. Without one, the file that `TIDEWIRE_CONFIG` names, if it is set.
    pub file: Option<PathBuf>,
    /// The environment. Variables that do not begin with [`ENVIRONMENT_PREFIX`] are not looked at.
    pub environment: Vec<(String, String)>,
    /// The flags that were given, by the key's name.
    pub flags: Vec<(&'static str, String)>,
}

/// Why the hub cannot start with this configuration. The text says which source, which key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not TOML: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        problem: String,
    },
    /// There is no such key.
    #[error("{place}: there is no such key{}; `tidewire serve --help` lists them", suggested(suggestion.as_deref()))]
    UnknownKey {
        /// The source and the key.
        place: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// A value that its key does not take.
    #[error("{place}: {problem}")]
    Value {
        /// The source and the key.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A key that must be set.
    #[error("{key} is not set: {remedy}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

fn suggested(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(", did you mean {name}?")).unwrap_or_default()
}

/// What a key was set by.
#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    Variable,
    Flag,
}

/// A source and a key, for an error.
struct Place<'a>(Option<&'a Origin>, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(origin, key) = self;
        match origin {
            None => write!(f, "{key} (by default)"),
            Some(Origin::File(path)) => write!(f, "{key} in {}", path.display()),
            Some(Origin::Variable) => write!(f, "{ENVIRONMENT_PREFIX}{}", key.to_uppercase()),
            Some(Origin::Flag) => write!(f, "--{}", key.replace('_', "-")),
        }
    }
}

impl Config {
    /// Reads and checks everything, the key file included. Binds nothing.
    ///
    /// # Errors
    /// When a source cannot be read, names a key that is not there, gives a value which a key does
    /// not take, or a required key is not set.
    pub fn load(sources: Sources) -> Result<Config, ConfigError> {
        Loader::read(&sources)?.finish(sources)
    }
}

/// What was written for the keys that were set.
pub(super) type Texts = HashMap<&'static str, String>;

#[derive(Clone)]
pub(super) struct Loader {
    pub(super) settings: Settings,
    pub(super) texts: Texts,
    origins: HashMap<&'static str, Origin>,
}

impl Loader {
    pub(super) fn read(sources: &Sources) -> Result<Loader, ConfigError> {
        let mut loader = Loader { settings: Settings::defaults(), texts: Texts::new(), origins: HashMap::new() };
        let named = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
        if let Some(path) = sources.file.clone().or_else(|| named.map(|(_, path)| PathBuf::from(path))) {
            loader.file(&path)?;
        }
        loader.environment(&sources.environment)?;
        for (name, value) in &sources.flags {
            loader.set(name, value, Origin::Flag)?;
        }
        Ok(loader)
    }

    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        let origin = Origin::File(path.to_owned());
        for (name, value) in table {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                toml::Value::Array(items) if name != RULES && items.iter().all(toml::Value::is_str) => {
                    let items: Vec<&str> = items.iter().filter_map(toml::Value::as_str).collect();
                    items.join(", ")
                }
                rules @ (toml::Value::Array(_) | toml::Value::Table(_)) if name == RULES => {
                    self.rule_tables(rules, &origin)?;
                    continue;
                }
                _ if Key::named(&name).is_none() => String::new(),
                other => {
                    let problem = format!("expected a string, a number or a boolean, not a {}", other.type_str());
                    return Err(ConfigError::Value { place: Place(Some(&origin), &name).to_string(), problem });
                }
            };
            self.set(&name, &text, origin.clone())?;
        }
        Ok(())
    }

    fn rule_tables(&mut self, rules: toml::Value, origin: &Origin) -> Result<(), ConfigError> {
        self.texts.insert(RULES, rules.to_string());
        let rules = RuleTexts::from_tables(rules)
            .map_err(|problem| ConfigError::Value { place: Place(Some(origin), RULES).to_string(), problem })?;
        self.settings.retention_rules = Some(rules);
        self.origins.insert(RULES, origin.clone());
        Ok(())
    }

    fn environment(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            if name != FILE_VARIABLE {
                self.set(&key.to_lowercase(), value, Origin::Variable)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let place = Place(Some(&origin), name).to_string();
        let Some(key) = Key::named(name) else {
            let suggestion = nearest(name, KEYS.iter().map(|key| key.name));
            let suggestion = suggestion.map(|near| Place(Some(&origin), near).to_string());
            return Err(ConfigError::UnknownKey { place, suggestion });
        };
        (key.set)(&mut self.settings, text)
            .map_err(|expected| ConfigError::Value { place, problem: format!("{expected}, not {text:?}") })?;
        self.texts.insert(key.name, text.to_owned());
        self.origins.insert(key.name, origin);
        Ok(())
    }

    fn refuse(&self, key: &'static str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Value { place: Place(self.origins.get(key), key).to_string(), problem: problem.into() }
    }

    pub(super) fn finish(self, sources: Sources) -> Result<Config, ConfigError> {
        let dev = sources.dev;
        let set = &self.settings;
        let key = match &set.key_file {
            Some(path) => Some(self.read_secret(path)?),
            None => None,
        };
        let tls = self.tls_files()?;
        let given = "the table of keys gives it a default";
        let config = Config {
            dev,
            listen: set.listen.expect(given),
            admin_listen: set.admin_listen.expect(given),
            data_dir: set.data_dir.clone().expect(given),
            public_url: set.public_url.clone(),
            key,
            tls: tls.clone(),
            anonymous: set.anonymous.unwrap_or(dev),
            cors_origins: set.cors_origins.clone().unwrap_or_default(),
            durability: set.durability.expect(given),
            memory_bytes: self.memory_size("memory_bytes", set.memory_bytes.expect(given).0)?,
            shards: set.shards.unwrap_or_else(system::cores),
            heartbeat: set.heartbeat.expect(given),
            stall_timeout: set.stall_timeout.expect(given),
            head_timeout: set.head_timeout.expect(given),
            idle_timeout: set.idle_timeout.expect(given),
            connection_requests: set.connection_requests.expect(given),
            decide_timeout: set.decide_timeout.expect(given),
            retry: set.retry.expect(given),
            max_streams: set.max_streams,
            max_streams_per_address: set.max_streams_per_address.or((!dev).then_some(STREAMS_PER_ADDRESS)),
            max_connections: set.max_connections.expect(given),
            // Checked below.
            http2_max_streams: u32::try_from(set.http2_max_streams.expect(given)).unwrap_or(u32::MAX),
            event_bytes: self.memory_size("event_bytes", set.event_bytes.expect(given).0)?,
            body_bytes: self.memory_size("body_bytes", set.body_bytes.expect(given).0)?,
            bodies_in_flight_bytes: self.bodies_in_flight_bytes()?,
            batch_events: set.batch_events.expect(given),
            tail_bytes: self.memory_size("tail_bytes", set.tail_bytes.expect(given).0)?,
            segment_bytes: set.segment_bytes.expect(given).0,
            retention_bytes: set.retention_bytes.map(|size| size.0),
            retention_age: set.retention_age.expect(given),
            retention_rules: self.retention_rules(tls.as_ref())?,
            retention_catch_up: set.retention_catch_up.expect(given),
            erase_within: set.erase_within.expect(given),
            scrub_rate: set.scrub_rate.expect(given).0,
            append_queue_bytes: self.memory_size("append_queue_bytes", set.append_queue_bytes.expect(given).0)?,
            idempotence_window: set.idempotence_window.expect(given),
            idempotence_entries: set.idempotence_entries.expect(given),
            drain_delay: set.drain_delay.unwrap_or(if dev { Duration::ZERO } else { DRAIN_DELAY }),
            drain_timeout: set
                .drain_timeout
                .map_or(Some(if dev { Duration::ZERO } else { DRAIN_TIMEOUT }), |bound| bound.0),
            stuck_after: set.stuck_after.expect(given),
            log_level: set.log_level.expect(given),
            log_format: set.log_format.expect(given),
            request_log: set.request_log.expect(given),
            sources,
            settings: set.clone(),
            texts: self.texts.clone(),
        };
        self.check_ranges(&config)?;
        self.check_exposure(&config)?;
        Ok(config)
    }

    fn retention_rules(&self, tls: Option<&TlsFiles>) -> Result<RetentionRules, ConfigError> {
        let set = &self.settings;
        let given = "the table of keys gives it a default";
        let Some(rules) = &set.retention_rules else { return Ok(RetentionRules::default()) };
        let base = set.public_url.clone().unwrap_or_else(|| PublicUrl::of_address(set.listen.expect(given), tls));
        let rules = rules.resolve(&base, set.retention_age.expect(given));
        rules.map_err(|problem| self.refuse(RULES, problem))
    }

    fn bodies_in_flight_bytes(&self) -> Result<usize, ConfigError> {
        let (set, key) = (&self.settings, "bodies_in_flight_bytes");
        let one = set.body_bytes.expect("the table of keys gives it a default").0;
        let bytes = set.bodies_in_flight_bytes.map_or(BODIES_IN_FLIGHT_BYTES.max(one), |size| size.0);
        if bytes < one {
            return Err(self.refuse(key, format!("expected body_bytes ({one}) at least, not {bytes}")));
        }
        self.memory_size(key, bytes)
    }

    fn memory_size(&self, key: &'static str, bytes: u64) -> Result<usize, ConfigError> {
        usize::try_from(bytes).map_err(|_| self.refuse(key, "more than this machine can address"))
    }

    fn check_ranges(&self, config: &Config) -> Result<(), ConfigError> {
        let seconds = Duration::from_secs;
        for (key, value, least, most) in [
            ("heartbeat", config.heartbeat, seconds(2), seconds(600)),
            ("stall_timeout", config.stall_timeout, seconds(1), seconds(86_400)),
            ("head_timeout", config.head_timeout, seconds(1), seconds(600)),
            ("idle_timeout", config.idle_timeout, seconds(1), seconds(3_600)),
            ("decide_timeout", config.decide_timeout, seconds(1), seconds(3_600)),
            ("retry", config.retry, Duration::from_millis(1), seconds(3_600)),
            ("idempotence_window", config.idempotence_window, Duration::ZERO, seconds(86_400)),
            ("retention_age", config.retention_age, seconds(1), seconds(36_500 * 86_400)),
            ("retention_catch_up", config.retention_catch_up, Duration::ZERO, seconds(36_500 * 86_400)),
            ("erase_within", config.erase_within, seconds(1), seconds(7 * 86_400)),
            ("drain_delay", config.drain_delay, Duration::ZERO, seconds(3_600)),
            ("drain_timeout", config.drain_timeout.unwrap_or_default(), Duration::ZERO, seconds(86_400)),
            ("stuck_after", config.stuck_after, seconds(1), seconds(3_600)),
        ] {
            if value < least || value > most {
                return Err(self.refuse(key, format!("expected {least:?} to {most:?}, not {value:?}")));
            }
        }
        for (key, value, least, most) in [
            ("shards", config.shards as u64, 1, system::SHARDS_MAX as u64),
            ("max_streams", config.max_streams.unwrap_or(1) as u64, 1, u64::MAX),
            ("max_streams_per_address", config.max_streams_per_address.unwrap_or(1) as u64, 1, u64::MAX),
            ("max_connections", config.max_connections as u64, 1, u64::MAX),
            ("connection_requests", config.connection_requests as u64, 1, u64::MAX),
            ("http2_max_streams", u64::from(config.http2_max_streams), 1, 10_000),
            ("event_bytes", config.event_bytes as u64, 1, 1 << 30),
            ("body_bytes", config.body_bytes as u64, 1, 1 << 30),
            ("batch_events", config.batch_events as u64, 1, 1_000_000),
            ("idempotence_entries", config.idempotence_entries as u64, 1, u64::MAX),
            ("tail_bytes", config.tail_bytes as u64, 1 << 16, u64::MAX),
            ("memory_bytes", config.memory_bytes as u64, 1 << 16, u64::MAX),
            ("segment_bytes", config.segment_bytes, 1 << 16, 1 << 30),
            ("scrub_rate", config.scrub_rate, 0, 1 << 40),
            ("append_queue_bytes", config.append_queue_bytes as u64, 1 << 16, u64::MAX),
        ] {
            if value < least {
                return Err(self.refuse(key, format!("expected {least} at least, not {value}")));
            }
            if value > most {
                return Err(self.refuse(key, format!("expected {most} at most, not {value}")));
            }
        }
        if let Some(bytes) = config.retention_bytes.filter(|&bytes| bytes < config.segment_bytes) {
            let problem = format!("expected segment_bytes ({}) at least, not {bytes}", config.segment_bytes);
            return Err(self.refuse("retention_bytes", problem));
        }
        Ok(())
    }

    /// Who can reach the hub, and what they need to have.
    fn check_exposure(&self, config: &Config) -> Result<(), ConfigError> {
        if config.dev {
            for (key, address) in [("listen", config.listen), ("admin_listen", config.admin_listen)] {
                if !address.ip().is_loopback() {
                    let remedy = "with --dev anyone may publish, so it must be a loopback address, \
                        as 127.0.0.1; leave --dev out to be reached from elsewhere";
                    return Err(self.refuse(key, remedy));
                }
            }
            return Ok(());
        }
        if config.key.is_none() {
            return Err(ConfigError::Missing {
                key: "key_file",
                remedy: "make a key with `tidewire token new-key FILE` and name it with --key-file FILE, \
                    or try the hub on this machine alone with --dev",
            });
        }
        if config.public_url.is_none() {
            return Err(ConfigError::Missing {
                key: "public_url",
                remedy: "name the URL by which clients know the hub, as --public-url https://hub.example",
            });
        }
        Ok(())
    }

    fn tls_files(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let (key, remedy) = match (&self.settings.tls_cert, &self.settings.tls_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => {
                let files = TlsFiles { cert: cert.clone(), key: key.clone() };
                files.check().map_err(|error| self.refuse(error.which().name(), in_full(&error)))?;
                return Ok(Some(files));
            }
            (Some(_), None) => ("tls_key", "tls_cert is, and TLS needs the certificate's key as well"),
            (None, Some(_)) => ("tls_cert", "tls_key is, and TLS needs the certificate as well"),
        };
        Err(ConfigError::Missing { key, remedy })
    }

    fn read_secret(&self, path: &Path) -> Result<Secret, ConfigError> {
        let failed = |error: io::Error| {
            let remedy = "`tidewire token new-key FILE` makes a key";
            self.refuse("key_file", format!("failed to read {}: {error}; {remedy}", path.display()))
        };
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > KEY_FILE_BYTES_MAX {
            let problem = format!("{} has {bytes} bytes, and a key at most {KEY_FILE_BYTES_MAX}", path.display());
            return Err(self.refuse("key_file", problem));
        }
        let content = std::fs::read_to_string(path).map_err(failed)?;
        Secret::parse(&content).map_err(|error| {
            let remedy = "make one with `tidewire token new-key FILE`";
            self.refuse("key_file", format!("{} holds no key: {error}; {remedy}", path.display()))
        })
    }
}

/// An error and what it comes from, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
