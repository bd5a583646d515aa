use super::*;
use crate::config::Durability;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    fn key(&self) -> String {
        let key = Secret::from_random([7; 32]).to_file_content();
        self.file("hub.key", &key).to_str().expect("a path").to_owned()
    }
}

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn dev() -> Sources {
    Sources { dev: true, ..Sources::default() }
}

fn refusal(sources: Sources) -> String {
    Config::load(sources).expect_err("it is wrong").to_string()
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = Config::load(dev()).expect("the defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:7788");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:7789");
    assert_eq!(config.data_dir, PathBuf::from("./tidewire-data"));
    assert_eq!(config.durability, Durability::Commit);
    assert!(config.anonymous && config.key.is_none() && config.public_url.is_none());
    assert_eq!((config.heartbeat, config.stall_timeout), (Duration::from_secs(20), Duration::from_secs(120)));
    assert_eq!((config.batch_events, config.event_bytes, config.body_bytes), (1_000, 1 << 20, 8 << 20));
}

#[test]
fn a_later_source_beats_an_earlier_one() {
    let folder = Folder::new();
    let file = folder
        .file("hub.toml", "heartbeat = \"3s\"\nretry = \"3s\"\nhead_timeout = \"3s\"\nshards = 3\nanonymous = false\n");
    let config = Config::load(Sources {
        dev: true,
        file: Some(file),
        environment: variables(&[("TIDEWIRE_RETRY", "4s"), ("TIDEWIRE_HEAD_TIMEOUT", "4s"), ("PATH", "/bin")]),
        flags: vec![("head_timeout", "5s".to_owned())],
    });
    let config = config.expect("a configuration");
    assert_eq!(config.heartbeat, Duration::from_secs(3));
    assert_eq!(config.retry, Duration::from_secs(4));
    assert_eq!(config.head_timeout, Duration::from_secs(5));
    assert_eq!(config.shards, 3);
    assert!(!config.anonymous);
}

#[test]
fn the_environment_may_name_the_file() {
    let folder = Folder::new();
    let file = folder.file("hub.toml", "shards = 2");
    let environment = variables(&[("TIDEWIRE_CONFIG", file.to_str().expect("a path"))]);
    let config = Config::load(Sources { environment, ..dev() }).expect("a configuration");
    assert_eq!(config.shards, 2);
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    let folder = Folder::new();
    let file = folder.file("hub.toml", "hartbeat = \"3s\"");
    let told = refusal(Sources { file: Some(file.clone()), ..dev() });
    let expected = format!("hartbeat in {0}: there is no such key, did you mean heartbeat in {0}?", file.display());
    assert!(told.starts_with(&expected), "{told}");

    let told = refusal(Sources { environment: variables(&[("TIDEWIRE_DATADIR", "x")]), ..dev() });
    assert!(told.starts_with("TIDEWIRE_DATADIR: there is no such key, did you mean TIDEWIRE_DATA_DIR?"), "{told}");

    let file = folder.file("table.toml", "[colours]\nred = 1");
    let told = refusal(Sources { file: Some(file), ..dev() });
    assert!(told.starts_with("colours in "), "{told}");
}

#[test]
fn a_value_is_refused_where_it_stands() {
    let folder = Folder::new();
    for (content, expected) in [
        ("heartbeat = \"3 moons\"", "heartbeat in "),
        ("heartbeat = 3", "expected a whole number and a unit (ms, s, min, h, d), as 500ms or 2min, not \"3\""),
        ("heartbeat = \"1s\"", "expected 2s to 600s, not 1s"),
        ("shards = 0", "expected 1 at least, not 0"),
        ("event_bytes = \"2GiB\"", "expected 1073741824 at most, not 2147483648"),
        ("batch_events = [1]", "expected a string, a number or a boolean, not a array"),
        ("shards =", "is not TOML"),
        ("retention_bytes = \"1MiB\"", "expected segment_bytes (67108864) at least"),
    ] {
        let told = refusal(Sources { file: Some(folder.file("hub.toml", content)), ..dev() });
        assert!(told.contains(expected), "{content}: {told}");
    }
    let told = refusal(Sources { flags: vec![("listen", "nowhere".to_owned())], ..dev() });
    assert!(told.starts_with("--listen: expected an address and a port"), "{told}");
    let told = refusal(Sources { file: Some(PathBuf::from("absent.toml")), ..dev() });
    assert_eq!(told, "failed to read the configuration file absent.toml");
}

#[test]
fn a_hub_for_development_is_on_loopback_only() {
    let told = refusal(Sources { flags: vec![("listen", "0.0.0.0:7788".to_owned())], ..dev() });
    assert!(told.starts_with("--listen: with --dev anyone may publish, so it must be a loopback address"), "{told}");
    let told = refusal(Sources { environment: variables(&[("TIDEWIRE_ADMIN_LISTEN", "[::]:7789")]), ..dev() });
    assert!(told.starts_with("TIDEWIRE_ADMIN_LISTEN: with --dev"), "{told}");
    assert!(Config::load(Sources { flags: vec![("listen", "[::1]:0".to_owned())], ..dev() }).is_ok());
}

#[test]
fn a_real_hub_needs_a_key_and_a_url() {
    let folder = Folder::new();
    let told = refusal(Sources::default());
    assert!(told.starts_with("key_file is not set: make a key with `tidewire token new-key FILE`"), "{told}");
    let told = refusal(Sources { flags: vec![("key_file", folder.key())], ..Sources::default() });
    assert!(told.starts_with("public_url is not set: "), "{told}");
    let flags = vec![("key_file", folder.key()), ("public_url", "https://hub.example/".to_owned())];
    let config = Config::load(Sources { flags, ..Sources::default() }).expect("a configuration");
    assert_eq!(config.public_url.as_ref().map(|url| url.as_str()), Some("https://hub.example"));
    assert!(!config.anonymous && config.key.is_some());
}

#[test]
fn a_file_that_holds_no_key_is_refused() {
    let folder = Folder::new();
    let short = folder.file("short.key", "c2hvcnQ");
    let file_bytes_max = usize::try_from(KEY_FILE_BYTES_MAX).expect("a small number");
    let longest = folder.file("longest.key", &"x".repeat(file_bytes_max));
    let longer = folder.file("longer.key", &"x".repeat(file_bytes_max + 1));
    for (path, expected) in [
        (short, "holds no key"),
        (longest, "holds no key"),
        (longer, "has 65537 bytes, and a key at most 65536"),
        (folder.0.path().join("absent.key"), "failed to read"),
    ] {
        let flags = vec![("key_file", path.to_str().expect("a path").to_owned())];
        let told = refusal(Sources { flags, ..Sources::default() });
        assert!(told.starts_with("--key-file: ") && told.contains(expected), "{told}");
    }
}
