//! What the hub does not start with.

use std::process::Command;

use super::*;

#[test]
fn files_that_cannot_be_used_are_an_error_before_anything_is_opened() {
    let authority = Authority::new();
    let (cert, key) = (authority.cert().display().to_string(), authority.key().display().to_string());
    let other = authority.issue(2050).key;
    let elsewhere = tempfile::tempdir().expect("a directory can be made");
    let other_key = elsewhere.path().join("key.pem").display().to_string();
    std::fs::write(&other_key, other).expect("a file can be written");
    for (arguments, said) in [
        (vec!["--tls-cert", cert.as_str()], "tls_key is not set"),
        (vec!["--tls-key", &key], "tls_cert is not set"),
        (vec!["--tls-cert", "nowhere.pem", "--tls-key", &key], "failed to read nowhere.pem"),
        (vec!["--tls-cert", &cert, "--tls-key", "nowhere.pem"], "failed to read nowhere.pem"),
        (vec!["--tls-cert", &key, "--tls-key", &key], "holds no certificate in PEM"),
        (vec!["--tls-cert", &cert, "--tls-key", &cert], "holds no private key in PEM"),
        (vec!["--tls-cert", &cert, "--tls-key", &other_key], "is not that of the certificate"),
    ] {
        let data = elsewhere.path().join("data");
        let arguments = [&["--dev"], &arguments[..]].concat();
        let refusal = Hub::new(&data, BINARY, &arguments, &[]).refuse();
        assert!(refusal.said.contains(said), "{said}: {}", refusal.said);
        assert!(!data.exists(), "nothing is opened");
        let checked = Command::new(BINARY).arg("check").args(&arguments).output().expect("it can be run");
        let text = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && text.contains(said), "{said}: {text}");
    }
    let fits = Command::new(BINARY).args(["check", "--dev", "--tls-cert", &cert, "--tls-key", &key]).status();
    assert!(fits.expect("it can be run").success());
}

/// Patterns are relative to the URL by which clients know the hub.
#[test]
fn a_hub_for_development_is_known_by_https() {
    let tls = TlsHub::start();
    assert!(
        tls.hub.said().iter().any(|line| line.contains(&format!("page at {}/", tls.hub.url()))),
        "{:?}",
        tls.hub.said()
    );
    let mut stream = EventStream::open_on(tls.connect(), "/api/v1/events?pattern=/a/*", &[]).expect("an answer");
    let topic = format!("{}/a/b", tls.hub.url());
    assert!(topic.starts_with("https://"));
    let body = json!({"topic": topic, "data": "matches"}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = tls.connect().request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(stream.published().data, "matches");
}
