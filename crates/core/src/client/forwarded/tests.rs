use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn address(text: &str) -> ClientAddress {
    text.parse().expect("an address")
}

const PEER: &str = "10.0.0.1";

/// Where the client is for a peer, when 10.0.0.0/8 and fd00::/8 are trusted.
fn client_of(peer: &str, headers: &[(&str, &[u8])]) -> String {
    let trusted = TrustedProxies::parse("10.0.0.0/8, fd00::/8").expect("a list");
    client_address(address(peer), headers.iter().copied(), &trusted).to_string()
}

fn client(name: &str, value: &str) -> String {
    client_of(PEER, &[(name, value.as_bytes())])
}

fn forwarded(value: &str) -> String {
    client("Forwarded", value)
}

#[test]
fn the_examples_of_rfc_7239_are_read() {
    for (value, expected) in [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        ("For=\"[2001:db8:cafe::17]:4711\"", "[2001:db8:cafe::17]:4711"),
        ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=\"_gazonk\"", PEER),
        ("for=unknown", PEER),
        ("for=_hidden, for=_SEVKISEK", PEER),
        ("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown", PEER),
        ("for=\"192.0.2.43:47011\"", "192.0.2.43:47011"),
        ("for=\"192.0.2.43:_port\"", "192.0.2.43"),
        ("for=\"[::1]:_port\";by=\"_x\"", "::1"),
    ] {
        assert_eq!(forwarded(value), expected, "{value}");
    }
}

#[test]
fn quotes_hide_commas_and_backslashes_hide_quotes() {
    for (value, expected) in [
        (r#"for=192.0.2.1;host="a, for=192.0.2.2""#, "192.0.2.1"),
        (r#"for="1\92.0.2.1";host="\", for=192.0.2.2""#, "192.0.2.1"),
        (r#"host="a;b,c\\";for=192.0.2.1"#, "192.0.2.1"),
        ("; for=192.0.2.1 ;; proto=https; ", "192.0.2.1"),
        (" , ,for=192.0.2.1, ,", "192.0.2.1"),
        // What proxies do without being allowed to.
        ("for=192.0.2.1:80", "192.0.2.1:80"),
        ("for=[::1]:80", "[::1]:80"),
        ("for=2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(forwarded(value), expected, "{value}");
    }
}

#[test]
fn whoever_is_malformed_is_a_stranger_and_the_next_is_read() {
    for value in [
        "for",
        "for=",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=192.0.2.1;for=192.0.2.1",
        "for=\"192.0.2.1",
        "for=192.0.2.1x",
        "for=\"192.0.2.1\"x",
        "for=192.0.2.1 proto=http",
        "by=192.0.2.1",
        "proto=\"a;for=192.0.2.1",
        "=192.0.2.1",
        "for=192.0.2.1;=x",
        "for=\"192.0.2.1:_\"",
        "for=\"192.0.2.1:_a/b\"",
        "for=\"192.0.2.1:80:_x\"",
        "\u{e9}for=192.0.2.1",
        "for=\"\\",
    ] {
        assert_eq!(forwarded(value), PEER, "{value}");
        let behind = format!("{value}, for=192.0.2.9");
        assert_eq!(forwarded(&behind), "192.0.2.9", "{behind}");
    }
}

#[test]
fn x_forwarded_for_is_read_from_the_right_past_those_who_are_trusted() {
    let client = |value: &str| client("x-forwarded-for", value);
    for (value, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.2,10.0.0.3", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1:4711"),
        ("[2001:db8::1]:4711, fd00::1", "[2001:db8::1]:4711"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        // All are trusted: it is the first.
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        // Who is behind whom nobody knows is not known.
        ("192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"),
        ("192.0.2.1, _hidden", PEER),
        ("", PEER),
        (", ,", PEER),
    ] {
        assert_eq!(client(value), expected, "{value}");
    }
}

#[test]
fn several_lines_are_one_list() {
    for name in ["X-Forwarded-For", "Forwarded"] {
        let entry = |ip: &str| if name == "Forwarded" { format!("for={ip}") } else { ip.to_owned() };
        let lines = [
            entry("203.0.113.9"),
            format!("{}, {}", entry("192.0.2.1"), entry("10.0.0.3")),
            String::new(),
            entry("10.0.0.2"),
        ];
        let headers: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
        assert_eq!(client_of(PEER, &headers), "192.0.2.1");
    }
}

#[test]
fn nobody_else_is_believed() {
    for peer in ["192.0.2.1:80", "11.0.0.1", "::1", "unix:"] {
        for (name, value) in [("forwarded", "for=192.0.2.9"), ("x-forwarded-for", "192.0.2.9")] {
            assert_eq!(client_of(peer, &[(name, value.as_bytes())]), peer);
        }
    }
}

/// The story: a proxy that adds `X-Forwarded-For` passes the client's own `Forwarded` on, or the other way round.
#[test]
fn where_both_fields_are_there_they_are_believed_as_far_as_they_agree() {
    let both = |forwarded: &str, list: &str| {
        client_of(PEER, &[("forwarded", forwarded.as_bytes()), ("x-forwarded-for", list.as_bytes())])
    };
    assert_eq!(both("for=192.0.2.1", "192.0.2.1"), "192.0.2.1");
    assert_eq!(both("for=\"192.0.2.1:80\"", "192.0.2.1"), "192.0.2.1:80");
    assert_eq!(both("for=192.0.2.1", "192.0.2.1:80"), "192.0.2.1:80");
    assert_eq!(both("for=203.0.113.9", "192.0.2.1"), PEER);
    assert_eq!(both("for=203.0.113.9, for=10.0.0.2", "192.0.2.1, 10.0.0.2"), "10.0.0.2");
    assert_eq!(both("for=10.0.0.2", "192.0.2.1, 10.0.0.2"), "10.0.0.2");
    assert_eq!(both("for=unknown", "unknown"), PEER);
    assert_eq!(both("", "192.0.2.1"), "192.0.2.1");
    assert_eq!(both("for=192.0.2.1", " "), "192.0.2.1");
}

#[test]
fn of_ten_thousand_proxies_the_nearest_are_looked_at() {
    let trusted = vec!["10.9.9.9"; 10_000].join(",");
    assert_eq!(client("x-forwarded-for", &format!("192.0.2.1,{trusted}")), "10.9.9.9");
    let lines: Vec<_> = (0..100).map(|_| ("x-forwarded-for", &b"10.9.9.9"[..])).collect();
    let with_first = |hops: usize| {
        let mut headers = vec![("x-forwarded-for", &b"192.0.2.1"[..])];
        headers.extend(&lines[..hops - 1]);
        client_of(PEER, &headers)
    };
    assert_eq!((with_first(HOPS_MAX), with_first(HOPS_MAX + 1)), ("192.0.2.1".to_owned(), "10.9.9.9".to_owned()));
    // What is written last is near the end, however long the line is.
    for (name, lie, entry) in
        [("x-forwarded-for", "203.0.113.9,", "192.0.2.1"), ("forwarded", "for=203.0.113.9,", "for=192.0.2.1")]
    {
        assert_eq!(client(name, &format!("{}{entry}", lie.repeat(10_000))), "192.0.2.1");
    }
    assert_eq!(client("x-forwarded-for", &format!("{}192.0.2.1", " ".repeat(LINE_BYTES_MAX))), PEER);
}

/// What a test's proxies say, and how it is written.
#[derive(Clone, Debug)]
struct Written {
    hop: Hop,
    forwarded: String,
    member: String,
    begins_a_line: bool,
}

fn written() -> impl Strategy<Value = Written> {
    let v4 = |first: BoxedStrategy<u8>| (first, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d]));
    let v6 = (prop_oneof![Just(0xfd00), Just(0x2001)], any::<[u16; 7]>())
        .prop_map(|(first, [b, c, d, e, f, g, h])| IpAddr::from([first, b, c, d, e, f, g, h]));
    let ip = prop_oneof![4 => v4(Just(10).boxed()), 1 => v4((11_u8..).boxed()), 2 => v6];
    let hop = prop_oneof![12 => (ip, any::<Option<u16>>()).prop_map(Some), 1 => Just(None)];
    let form = (any::<[bool; 4]>(), "[a-z]{0,3}");
    (hop, form).prop_map(|(hop, ([is_quoted, has_more, is_escaped, begins_a_line], more))| {
        let Some((ip, port)) = hop else {
            return Written { hop: None, forwarded: "for=unknown".into(), member: "unknown".into(), begins_a_line };
        };
        let member = ClientAddress::Ip(ip, port).to_string();
        let mut node = if port.is_none() && ip.is_ipv6() { format!("[{ip}]") } else { member.clone() };
        if is_quoted || !ip.is_ipv4() || port.is_some() {
            node = if is_escaped { node.chars().flat_map(|c| ['\\', c]).collect() } else { node };
            node = format!("\"{node}\"");
        }
        let mut forwarded = format!("FOR={node}");
        if has_more {
            forwarded = format!("host=\"{more}\\\",{more}\" ; {forwarded};proto=http");
        }
        Written { hop: Some(ClientAddress::Ip(ip, port)), forwarded, member, begins_a_line }
    })
}

/// Lines of a field, as the test's proxies have written them.
fn lines(written: &[Written], text: impl Fn(&Written) -> String) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in written {
        match lines.last_mut().filter(|_| !entry.begins_a_line) {
            Some(line) => *line = format!("{line}, {}", text(entry)),
            None => lines.push(text(entry)),
        }
    }
    lines
}

proptest! {
    #[test]
    fn the_client_is_the_first_from_the_right_who_is_not_trusted(written in vec(written(), 0..8)) {
        let is_trusted = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 10,
            IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
        };
        let mut expected = address(PEER);
        for hop in written.iter().rev().map(|written| written.hop) {
            let Some(next) = hop else { break };
            expected = next;
            if !next.ip().is_some_and(is_trusted) {
                break;
            }
        }
        let forwarded = lines(&written, |written| written.forwarded.clone());
        let members = lines(&written, |written| written.member.clone());
        let forwarded: Vec<_> = forwarded.iter().map(|line| ("Forwarded", line.as_bytes())).collect();
        let members: Vec<_> = members.iter().map(|line| ("X-Forwarded-For", line.as_bytes())).collect();
        for headers in [forwarded.clone(), members.clone(), [members, forwarded].concat()] {
            prop_assert_eq!(client_of(PEER, &headers), expected.to_string());
        }
    }

    /// What a client has written stands before what the proxy adds to the line.
    #[test]
    fn a_client_can_hide_but_not_be_somebody_else(
        lie in r#"([a-z=;,"\\ \[\]:._0-9]|for=|"|, |192\.0\.2\.9|\\"){0,12}"#,
        is_quoted: bool,
    ) {
        let added = if is_quoted { "for=\"[2001:db8::1]:80\";proto=https" } else { "for=192.0.2.1;by=10.0.0.1" };
        let client_of_added = if is_quoted { "[2001:db8::1]:80" } else { "192.0.2.1" };
        let told = forwarded(&format!("{lie}, {added}"));
        prop_assert!(told == client_of_added || told == PEER, "{told} for {lie:?}");
        prop_assert_eq!(client("x-forwarded-for", &format!("{lie}, 192.0.2.1")), "192.0.2.1");
    }

    #[test]
    fn no_bytes_are_an_error(lines in vec((any::<bool>(), vec(any::<u8>(), 0..100)), 0..5), peer in "10\\.0\\.0\\.[0-9]|192\\.0\\.2\\.1") {
        let headers: Vec<_> = lines.iter().map(|(is_one, line)| (if *is_one { "forwarded" } else { "x-forwarded-for" }, &**line)).collect();
        let told = client_of(&peer, &headers);
        prop_assert!(peer.starts_with("10.") || told == peer);
    }
}
