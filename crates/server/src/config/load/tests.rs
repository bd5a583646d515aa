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
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    assert_eq!(
        (config.retention_age, config.retention_catch_up, config.erase_within),
        (hours(168), hours(24), hours(1))
    );
    assert_eq!(config.retention_rules.iter().len(), 0);
    assert_eq!((config.heartbeat, config.stall_timeout), (Duration::from_secs(20), Duration::from_secs(120)));
    let cores = std::thread::available_parallelism().expect("the system tells").get();
    assert_eq!(config.shards, cores.min(1_024));
    assert_eq!((config.batch_events, config.event_bytes, config.body_bytes), (1_000, 1 << 20, 8 << 20));
    assert_eq!(config.stuck_after, Duration::from_secs(10));
}

#[test]
fn a_hub_for_development_stops_at_once_and_gives_an_address_all_streams() {
    let folder = Folder::new();
    let load = |dev: bool, more: &[(&'static str, &str)]| {
        let given = [("key_file", &*folder.key()), ("public_url", "https://hub.example")];
        let flags = given.iter().chain(more).map(|&(key, value)| (key, value.to_owned())).collect();
        let config = Config::load(Sources { dev, flags, ..Sources::default() }).expect("a configuration");
        (config.drain_delay, config.drain_timeout, config.max_streams_per_address)
    };
    let seconds = Duration::from_secs;
    assert_eq!(load(false, &[]), (seconds(2), Some(seconds(30)), Some(10_000)));
    assert_eq!(load(true, &[]), (seconds(0), Some(seconds(0)), None));
    let given = [("drain_delay", "5s"), ("drain_timeout", "6s"), ("max_streams_per_address", "7")];
    for dev in [false, true] {
        assert_eq!(load(dev, &given), (seconds(5), Some(seconds(6)), Some(7)));
        assert_eq!(load(dev, &[("drain_timeout", "none")]).1, None);
    }
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
        ("retention_age = \"999ms\"", "expected 1s to 3153600000s, not 999ms"),
        ("retention_age = \"36501d\"", "expected 1s to 3153600000s, not"),
        ("retention_catch_up = \"36501d\"", "expected 0ns to 3153600000s, not"),
        ("erase_within = \"0\"", "expected 1s to 604800s, not 0ns"),
        ("erase_within = \"8d\"", "expected 1s to 604800s, not 691200s"),
        ("durability = \"disk\"", "expected commit, os or memory, not \"disk\""),
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
fn retention_and_erasing_are_set_from_any_source() {
    let folder = Folder::new();
    let file = folder.file("hub.toml", "retention_age = \"30d\"\ndurability = \"os\"");
    let environment = variables(&[("TIDEWIRE_RETENTION_CATCH_UP", "0")]);
    let flags = vec![("erase_within", "5min".to_owned())];
    let config = Config::load(Sources { file: Some(file), environment, flags, dev: true }).expect("a configuration");
    assert_eq!(config.retention_age, Duration::from_secs(30 * 86_400));
    assert_eq!(config.retention_catch_up, Duration::ZERO);
    assert_eq!(config.erase_within, Duration::from_secs(300));
    assert_eq!(config.durability, Durability::Os);
}

#[test]
fn rules_of_retention_stand_in_the_file_or_in_one_line() {
    let folder = Folder::new();
    let ages = |sources, topics: &[&str]| -> Vec<Option<u64>> {
        let rules = Config::load(sources).expect("a configuration").retention_rules;
        topics.iter().map(|topic| rules.age_for(topic).map(|age| age.as_secs())).collect()
    };
    let content = "[[retention_rules]]\npattern = \"/chat/:n([0-9]{1,3})\"\nage = \"1h\"\n\
        [[retention_rules]]\nage = \"1d\"\npattern = \"/chat/*\"\n";
    let file = Sources { file: Some(folder.file("hub.toml", content)), ..dev() };
    let topics = ["/chat/1", "chat/1234", "http://127.0.0.1:7788/chat/a", "/logs/1", "https://hub.example/chat/1"];
    assert_eq!(ages(file, &topics), [Some(3_600), Some(86_400), Some(86_400), None, None]);

    // A later source beats an earlier one: the rules are not put together.
    let line = "/logs/*=1h, /search?q=*=2h ,/chat/a = 5s";
    let sources = || Sources {
        file: Some(folder.file("hub.toml", content)),
        environment: variables(&[("TIDEWIRE_RETENTION_RULES", line)]),
        ..dev()
    };
    let topics = ["/logs/1", "/search?q=x", "/search?q", "/chat/a", "/chat/1"];
    assert_eq!(ages(sources(), &topics), [Some(3_600), Some(7_200), None, Some(5), None]);
    let flags = vec![("retention_rules", String::new())];
    assert_eq!(ages(Sources { flags, ..sources() }, &topics), [None; 5]);
}

#[test]
fn patterns_are_relative_to_the_public_url() {
    let flags = vec![
        ("listen", "127.0.0.1:9000".to_owned()),
        ("retention_rules", "/chat/*=1h".to_owned()),
        ("public_url", "https://hub.example".to_owned()),
    ];
    let rules = |flags| Config::load(Sources { flags, ..dev() }).expect("a configuration").retention_rules;
    assert!(rules(flags.clone()).age_for("https://hub.example/chat/1").is_some());
    assert!(rules(flags.clone()).age_for("http://127.0.0.1:9000/chat/1").is_none());
    assert!(rules(flags[..2].to_vec()).age_for("http://127.0.0.1:9000/chat/1").is_some());
}

#[test]
fn a_rule_of_retention_is_refused_by_its_number_and_place() {
    let folder = Folder::new();
    let rule = |members: &str| {
        format!("[[retention_rules]]\npattern = \"/a\"\nage = \"1h\"\n[[retention_rules]]\n{members}\n")
    };
    let pattern = |pattern: &str| rule(&format!("pattern = '{pattern}'\nage = \"1h\""));
    let age = |age: &str| rule(&format!("pattern = \"/b\"\nage = {age}"));
    let many = "[[retention_rules]]\npattern = \"/a\"\nage = \"1h\"\n";
    for (content, expected) in [
        (rule("patern = \"/b\""), "rule 2: there is no such member as patern, did you mean pattern?"),
        (rule("colour = 1"), "rule 2: there is no such member as colour"),
        (rule("pattern = \"/b\""), "rule 2: age is not set"),
        (rule("age = \"1h\""), "rule 2: pattern is not set"),
        (age("3"), "rule 2: age: expected a string, not a integer"),
        (
            age("\"3\""),
            "rule 2: age: expected a whole number and a unit (ms, s, min, h, d), as 500ms or 2min, not \"3\"",
        ),
        (age("\"8d\""), "rule 2 (\"/b\"): expected 1s to retention_age (604800s), not 691200s"),
        (age("\"999ms\""), "rule 2 (\"/b\"): expected 1s to retention_age (604800s), not 999ms"),
        (pattern("/b/(c"), "rule 2 (\"/b/(c\"): invalid regex: missing closing ) (at byte 3)"),
        (pattern(""), "rule 2 (\"\"): a pattern must not be empty"),
        (pattern(&"b".repeat(1_025)), "a pattern of 1025 bytes is longer than 1024"),
        ("retention_rules = [1]".to_owned(), "rule 1: expected a table of pattern and age, not a integer"),
        ("[retention_rules]\npattern = \"/a\"".to_owned(), "expected [[retention_rules]] for each rule, not a table"),
        (many.repeat(101), "there are 101 rules, and 100 at most are allowed"),
    ] {
        let file = folder.file("hub.toml", &content);
        let told = refusal(Sources { file: Some(file.clone()), ..dev() });
        assert!(told.starts_with(&format!("retention_rules in {}: ", file.display())), "{told}");
        assert!(told.contains(expected), "{content}: {told}");
    }
    assert!(Config::load(Sources { file: Some(folder.file("hub.toml", &many.repeat(100))), ..dev() }).is_ok());

    for (line, expected) in [
        ("/a=1h,/b", "expected PATTERN=AGE in rule 2, as '/chat/*=1h, /logs/*=1d', not \"/a=1h,/b\""),
        ("/a=1h,", "expected PATTERN=AGE in rule 2"),
        ("/a=1h,/b=x", "in the age of rule 2, expected a whole number and a unit"),
        ("/a=1h,/b/:=1h", "rule 2 (\"/b/:\"): "),
        ("=1h", "rule 1 (\"\"): a pattern must not be empty"),
    ] {
        let told = refusal(Sources { environment: variables(&[("TIDEWIRE_RETENTION_RULES", line)]), ..dev() });
        assert!(told.starts_with(&format!("TIDEWIRE_RETENTION_RULES: {expected}")), "{line}: {told}");
    }
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
