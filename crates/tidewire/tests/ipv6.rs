//! The hub over IPv6. Where the machine has none, these tests say so and nothing more.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::json;
use tidewire_harness::{EventStream, Http, Hub, free_port};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// A free port on the loopback address of IPv6, if there is one.
fn loopback() -> Option<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], free_port().port()));
        match TcpListener::bind(address) {
            Ok(_) => return Some(address),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                eprintln!("skipped: this machine has no IPv6 ({error})");
                return None;
            }
        }
    }
    panic!("no free port");
}

/// A stream at this address gets what is published there, and is listed with the address of its client.
fn serves(address: SocketAddr, authorization: &str) {
    let headers = [("authorization", authorization)];
    let headers = if authorization.is_empty() { &[][..] } else { &headers };
    let http = Http::connect(address).expect("the hub listens");
    let client = http.socket().local_addr().expect("it is connected").to_string();
    let mut stream = EventStream::open_on(http, "/api/v1/events?topic=a", headers).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    let mut http = Http::connect(address).expect("the hub listens");
    let body = json!({"topic": "a", "data": "news"}).to_string();
    let typed = [headers, &[("content-type", "application/json")]].concat();
    assert_eq!(http.request("POST", "/api/v1/events", &typed, body.as_bytes()).expect("an answer").status, 200);
    assert_eq!(stream.published().data, "news");
    let page = http.request("GET", &format!("/api/v1/connections?address={client}"), headers, b"").expect("an answer");
    assert_eq!(page.json()["connections"].as_array().map(Vec::len), Some(1), "{}", page.text());
    assert_eq!(page.json()["connections"][0]["address"], client);
}

#[test]
fn the_loopback_address_of_ipv6_is_served_beside_that_of_ipv4() {
    let Some(address) = loopback() else { return };
    let folder = tempfile::tempdir().expect("a directory can be made");
    let mut hub = Hub::new(folder.path(), BINARY, &["--dev"], &[]).also_at(&address.to_string());
    hub.restart();
    assert!(hub.has_told(&format!("listening on http://{address}")), "{:?}", hub.said());
    serves(address, "");
    serves(hub.address(), "");
}

#[test]
fn a_hub_for_development_says_urls_that_can_be_used() {
    let Some(address) = loopback() else { return };
    let folder = tempfile::tempdir().expect("a directory can be made");
    let data = folder.path().join("data").display().to_string();
    let listen = address.to_string();
    let mut child = Command::new(BINARY)
        .args(["serve", "--dev", "--listen", &listen, "--admin-listen", "[::1]:0", "--data-dir", &data])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let output = child.stdout.take().expect("it is piped");
    let told: Vec<String> = std::io::BufRead::lines(std::io::BufReader::new(output))
        .map(|line| line.expect("text"))
        .take_while(|line| !line.starts_with("listening on"))
        .collect();
    let mut http = Http::connect(address).expect("the hub listens");
    let page = http.request("GET", "/", &[], b"").expect("an answer");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(page.status, 200);
    assert!(told.contains(&format!("page at http://{address}/")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("admin on http://[::1]:")), "{told:?}");
}

#[test]
fn the_address_of_all_takes_ipv4_too_and_shows_it_as_that() {
    let Some(address) = loopback() else { return };
    let folder = tempfile::tempdir().expect("a directory can be made");
    let key = folder.path().join("key").display().to_string();
    let run = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    run(&["token", "new-key", &key]);
    let rights = ["token", "mint", "--key-file", &key, "--admin", "--publish", "*", "--subscribe", "*"];
    let authorization = format!("Bearer {}", run(&rights).trim());
    let arguments = ["--key-file", &key, "--public-url", "https://hub.example"];
    let place = format!("[::]:{}", address.port());
    let mut hub =
        Hub::new(&folder.path().join("data"), BINARY, &arguments, &[("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.1")])
            .also_at(&place);
    hub.restart();
    let ipv4 = SocketAddr::from(([127, 0, 0, 1], address.port()));
    serves(address, &authorization);
    serves(ipv4, &authorization);
    // Who is trusted by its address of IPv4 is so on this socket as well.
    let headers = [("authorization", &*authorization), ("x-forwarded-for", "192.0.2.7")];
    let _stream = EventStream::open(ipv4, "/api/v1/events?topic=b", &headers).expect("an answer");
    let mut http = Http::connect(ipv4).expect("the hub listens");
    let page = http.request("GET", "/api/v1/connections?topic=b", &headers[..1], b"").expect("an answer").json();
    assert_eq!(page["connections"][0]["address"], "192.0.2.7");
}
