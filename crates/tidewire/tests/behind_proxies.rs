//! The hub behind the real nginx and the real HAProxy, as the documentation has them.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidewire_harness::{EventStream, Http, Hub, free_port, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);

/// A proxy that runs until this is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Dropped while a test panics: nothing more can be done about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program on a configuration, and waits until it listens at the addresses.
fn start(program: &str, arguments: &[&str], folder: &Path, configuration: &str, listens: &[SocketAddr]) -> Proxy {
    std::fs::write(folder.join("proxy.conf"), configuration).expect("a file can be written");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let proxy = Proxy(command.spawn().expect("the proxy can be run"));
    for &address in listens {
        wait_until("the proxy listens", WITHIN, || TcpStream::connect(address).is_ok());
    }
    proxy
}

fn nginx(folder: &Path, servers: &str, listens: &[SocketAddr]) -> Proxy {
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {kind};"));
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\n\
         events {{}}\nhttp {{ access_log off; {}\n{servers}\n}}\n",
        temporary.concat()
    );
    let place = format!("{}/", folder.display());
    start("nginx", &["-p", &place, "-c", "proxy.conf", "-e", "stderr"], folder, &configuration, listens)
}

fn haproxy(folder: &Path, sections: &str, listens: &[SocketAddr]) -> Proxy {
    let configuration = format!(
        "defaults\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n  timeout check 10s\n{sections}\n"
    );
    start("haproxy", &["-db", "-f", "proxy.conf"], folder, &configuration, listens)
}

/// A stream through a proxy gets what is published, and is listed with the address of its client.
fn serves(manager: &mut Http, proxy: SocketAddr, has_port: bool, headers: &[(&str, &str)]) {
    let http = Http::connect(proxy).expect("the proxy listens");
    let client = http.socket().local_addr().expect("it is connected");
    let topic = format!("t{}-{}", proxy.port(), client.port());
    let mut stream = EventStream::open_on(http, &format!("/api/v1/events?topic={topic}"), headers).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    let expected = if has_port { client.to_string() } else { client.ip().to_string() };
    let page =
        manager.request("GET", &format!("/api/v1/connections?topic={topic}"), &[], b"").expect("an answer").json();
    let shown: Vec<&Value> = page["connections"].as_array().expect("a list").iter().map(|it| &it["address"]).collect();
    assert_eq!(shown, [expected.as_str()]);
    let body = format!(r#"{{"topic": "{topic}", "data": "news"}}"#);
    let mut publisher = Http::connect(proxy).expect("the proxy listens");
    let answer = publisher.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(stream.published().data, "news");
}

/// What a client says itself, to be taken for another.
const LIES: [(&str, &str); 2] = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];

#[test]
fn nginx_tells_where_clients_are() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.2")]);
    let folder = tempfile::tempdir().expect("a directory can be made");
    let listen = free_port();
    let server = format!(
        "server {{ listen {listen}; location / {{ proxy_pass http://{}; proxy_bind 127.0.0.2; proxy_http_version 1.1;
         proxy_set_header Connection ''; proxy_set_header Host $host; proxy_buffering off; proxy_read_timeout 1h;
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Forwarded ''; }} }}",
        hub.address()
    );
    let _proxy = nginx(folder.path(), &server, &[listen]);
    let mut manager = Http::connect(hub.address()).expect("the hub listens");
    serves(&mut manager, listen, false, &[]);
    serves(&mut manager, listen, false, &LIES);
}

#[test]
fn haproxy_tells_where_clients_are() {
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.2")]);
    let folder = tempfile::tempdir().expect("a directory can be made");
    let (listen, address) = (free_port(), hub.address());
    let sections = format!(
        "listen hub\n  mode http\n  option http-no-delay\n  bind {listen}\n  option forwardfor\n  http-request del-header Forwarded\n  \
         server hub {address} source 127.0.0.2"
    );
    let _proxy = haproxy(folder.path(), &sections, &[listen]);
    let mut manager = Http::connect(hub.address()).expect("the hub listens");
    serves(&mut manager, listen, false, &[]);
    serves(&mut manager, listen, false, &LIES);
}

#[test]
fn haproxy_passes_connections_on_with_both_versions_of_the_header() {
    let environment = [("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.2"), ("TIDEWIRE_PROXY_PROTOCOL", "true")];
    let hub = Hub::start_with(BINARY, &["--dev"], &environment);
    let folder = tempfile::tempdir().expect("a directory can be made");
    let (first, second, address) = (free_port(), free_port(), hub.address());
    let section = |name: &str, listen: SocketAddr, send: &str| {
        format!(
            "listen {name}\n  mode tcp\n  bind {listen}\n  server hub {address} source 127.0.0.2 check inter 200ms {send}\n"
        )
    };
    let sections = [
        section("first", first, "send-proxy check-send-proxy"),
        section("second", second, "send-proxy-v2 check-send-proxy proxy-v2-options crc32c,unique-id"),
    ];
    let _proxy = haproxy(folder.path(), &sections.concat(), &[first, second]);
    let mut manager = Http::connect(hub.address()).expect("the hub listens");
    for proxy in [first, second, first] {
        serves(&mut manager, proxy, true, &LIES);
    }
}
