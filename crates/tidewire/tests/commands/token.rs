//! `tidewire token`, as the binary does it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use tidewire_auth::{Grants, Secret, Verifier};
use tidewire_topic::{Matcher, MatcherSet};

fn tidewire(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidewire")).arg("token").args(args).output().expect("the binary runs")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

fn new_key(path: &Path) {
    let output = tidewire(&["new-key", path.to_str().expect("a path in UTF-8")]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
}

#[expect(clippy::disallowed_methods, reason = "the binary mints by the wall clock")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn verify(key: &Path, token: &str) -> Grants {
    let secret = Secret::parse(&std::fs::read_to_string(key).expect("the key")).expect("a key");
    let verifier = Verifier::hs256(secret.as_bytes(), Some("https://hub.example.com")).expect("a verifier");
    verifier.verify(token.trim_end(), now_s()).expect("grants")
}

#[test]
fn a_key_is_private_random_and_never_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    new_key(&one);
    new_key(&other);
    let content = std::fs::read(&one).expect("the key");
    assert_ne!(content, std::fs::read(&other).expect("the other key"));
    let mode = std::fs::metadata(&one).expect("the key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = tidewire(&["new-key", one.to_str().expect("a path in UTF-8")]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    assert_eq!(std::fs::read(&one).expect("the key"), content);
}

#[test]
fn a_minted_token_grants_what_was_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    new_key(&key);
    let key_text = key.to_str().expect("a path in UTF-8");
    let before_s = now_s();
    let output = tidewire(&[
        "mint",
        "--key-file",
        key_text,
        "--sub",
        "alice",
        "--publish",
        "a",
        "--publish",
        "b",
        "--subscribe",
        "*",
        "--admin",
        "--aud",
        "https://hub.example.com",
        "--expires-in",
        "2h",
    ]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    assert_eq!(stdout(&output).lines().count(), 1);
    let grants = verify(&key, stdout(&output));
    let published = ["a", "b"].map(|text| Matcher::parse(text).expect("a topic"));
    assert_eq!(grants.publish, MatcherSet::new(published).ok());
    assert_eq!(grants.subscribe, Some(MatcherSet::any()));
    assert_eq!((grants.admin, grants.subject.as_deref()), (true, Some("alice")));
    let lifetime_s = grants.expires_at_s.expect("an end") - tidewire_auth::LEEWAY_S - before_s;
    assert!((7_200..7_260).contains(&lifetime_s), "{lifetime_s}");

    let output = tidewire(&["mint", "--key-file", key_text, "--subscribe", "a", "--expires-in", "never"]);
    let grants = verify(&key, stdout(&output));
    assert_eq!((grants.expires_at_s, grants.admin, grants.publish), (None, false, None));
}

#[test]
fn wrong_usage_is_2_and_a_failure_is_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, "dG9vIHNob3J0\n").expect("a short key");
    let key_text = key.to_str().expect("a path in UTF-8");
    for usage in [
        &["mint", "--key-file", key_text][..],
        &["mint", "--publish", "a"],
        &["mint", "--key-file", key_text, "--publish", ""],
        &["mint", "--key-file", key_text, "--publish", "a", "--expires-in", "soon"],
        &["new-key"],
        &[],
    ] {
        assert_eq!(tidewire(usage).status.code(), Some(2), "{usage:?}");
    }
    let short = tidewire(&["mint", "--key-file", key_text, "--publish", "a"]);
    assert_eq!(short.status.code(), Some(1));
    assert!(stderr(&short).contains("needs at least 32"), "{}", stderr(&short));
    let absent = tidewire(&["mint", "--key-file", "/nowhere/key", "--publish", "a"]);
    assert_eq!((absent.status.code(), stdout(&absent)), (Some(1), ""));
}
