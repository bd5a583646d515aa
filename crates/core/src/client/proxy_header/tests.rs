use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The client of the header at the beginning of these bytes, and what follows it.
fn read(bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
    let header = ProxyHeader::read(bytes).ok()??;
    Some((header.client.map(|client| client.to_string()), &bytes[header.length..]))
}

/// A header of version 2.
fn binary(command: u8, family: u8, told: &[u8]) -> Vec<u8> {
    let length = u16::try_from(told.len()).expect("it is short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, told].concat()
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x01, 0xbb];

fn client(bytes: &[u8]) -> Option<String> {
    read(bytes).and_then(|(client, rest)| client.filter(|_| rest.is_empty()))
}

/// Every part of a header is too little, and every part of it is enough to know that it may be one.
fn is_read_wherever_it_is_cut(header: &[u8]) {
    for cut in 0..header.len() {
        assert_eq!(ProxyHeader::read(&header[..cut]), Ok(None), "{cut} bytes of {header:?}");
    }
    let whole = ProxyHeader::read(header).expect("a header").expect("whole");
    assert_eq!(whole.length, header.len());
    assert_eq!(ProxyHeader::read(&[header, b"GET / HTTP/1.1\r\n"].concat()), Ok(Some(whole)));
}

/// The examples of the specification, section 2.1.
#[test]
fn lines_of_version_1_are_read() {
    for (line, expected) in [
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
        (
            "PROXY TCP6 ffff:f:f:f:f:f:f:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Some("[ffff:f:f:f:f:f:f:ffff]:65535"),
        ),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Some("192.168.0.1:56324")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 80\r\n", Some("192.0.2.1:0")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f:f:f:f:f:f:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", None),
    ] {
        assert_eq!(read(line.as_bytes()), Some((expected.map(str::to_owned), &b""[..])), "{line}");
        is_read_wherever_it_is_cut(line.as_bytes());
    }
}

#[test]
fn other_lines_are_malformed() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX - 15));
    let longest = too_long.replacen('x', "", 1);
    assert_eq!(longest.len(), LINE_BYTES_MAX);
    is_read_wherever_it_is_cut(longest.as_bytes());
    for line in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 080\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 80\r\n",
        "PROXY TCP4 192.0.2.01 192.0.2.2 1 80\r\n",
        "PROXY TCP4 ::1 ::1 1 80\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 80 \r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 80\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 80\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 \u{661}92.0.2.1 192.0.2.2 1 80\r\n",
        &too_long,
        "GET / HTTP/1.1\r\n",
        "PROXX",
        "proxy",
        "\r\n\r\n\r",
        "\r\nGET",
    ] {
        assert_eq!(ProxyHeader::read(line.as_bytes()), Err(MalformedProxyHeader), "{line:?}");
    }
    assert_eq!(ProxyHeader::read(b"PROXY TCP4 \xff\r\n"), Err(MalformedProxyHeader));
}

#[test]
fn headers_of_version_2_are_read() {
    let v6: Vec<u8> =
        [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[9; 16], &[0, 80, 1, 187]].concat();
    let extension = [&[0xee, 0, 3][..], b"a\r\n"].concat();
    for (header, expected) in [
        (binary(0x21, 0x11, &TCP4), Some("192.0.2.1:4711")),
        (binary(0x21, 0x12, &TCP4), Some("192.0.2.1:4711")),
        (binary(0x21, 0x11, &[&TCP4[..], &extension, &[4, 0, 0]].concat()), Some("192.0.2.1:4711")),
        (binary(0x21, 0x21, &v6), Some("[2001:db8::1]:80")),
        (binary(0x21, 0x31, &[0; 216]), Some("unix:")),
        (binary(0x21, 0x00, &[]), None),
        (binary(0x21, 0x00, b"whatever"), None),
        (binary(0x21, 0x10, &TCP4), None),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, &TCP4), None),
        (binary(0x20, 0xff, b"whatever"), None),
        (binary(0x21, 0x00, &[0; PROXY_HEADER_BYTES_MAX - FIXED_BYTES]), None),
    ] {
        assert_eq!(read(&header), Some((expected.map(str::to_owned), &b""[..])), "{header:?}");
        is_read_wherever_it_is_cut(&header);
    }
}

#[test]
fn what_does_not_fit_is_malformed() {
    for header in [
        binary(0x11, 0x11, &TCP4),
        binary(0x22, 0x11, &TCP4),
        binary(0x21, 0x13, &TCP4),
        binary(0x21, 0x41, &TCP4),
        binary(0x21, 0x11, &TCP4[..11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x21, 0x31, &[0; 215]),
        // Extensions that end before they should.
        binary(0x21, 0x11, &[&TCP4[..], &[4]].concat()),
        binary(0x21, 0x11, &[&TCP4[..], &[4, 0]].concat()),
        binary(0x21, 0x11, &[&TCP4[..], &[4, 0, 2, 0]].concat()),
        binary(0x21, 0x11, &[&TCP4[..], &[4, 0xff, 0xff, 0]].concat()),
        binary(0x21, 0x11, &[&TCP4[..], &[CHECKSUM, 0, 3, 0, 0, 0]].concat()),
        binary(0x21, 0x00, &[0; PROXY_HEADER_BYTES_MAX - FIXED_BYTES + 1]),
    ] {
        assert_eq!(ProxyHeader::read(&header), Err(MalformedProxyHeader), "{header:?}");
    }
    let told = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert_eq!(ProxyHeader::read(&told), Err(MalformedProxyHeader), "nobody waits for what is too long");
}

#[test]
fn a_checksum_is_right_or_the_header_is_wrong() {
    let mut header = binary(0x21, 0x11, &[&TCP4[..], &[4, 0, 1, 7, CHECKSUM, 0, 4, 0, 0, 0, 0, 4, 0, 0]].concat());
    let checksum = crc32c::crc32c(&header);
    let at = FIXED_BYTES + TCP4.len() + 7;
    header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(client(&header).as_deref(), Some("192.0.2.1:4711"));
    // As another extension, it would mean nothing.
    for byte in (FIXED_BYTES..header.len()).filter(|&byte| byte != at - EXTENSION_BYTES) {
        let mut wrong = header.clone();
        wrong[byte] ^= 1;
        assert_ne!(client(&wrong).as_deref(), Some("192.0.2.1:4711"), "byte {byte}");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_read_beyond_their_end(
        command in prop_oneof![Just(0x21), any::<u8>()],
        family in prop_oneof![Just(0x11), Just(0x21), Just(0x31), any::<u8>()],
        length in 0..300_u16,
        told in vec(any::<u8>(), 0..300),
    ) {
        let bytes = [SIGNATURE, &[command, family], &length.to_be_bytes(), &told].concat();
        match ProxyHeader::read(&bytes) {
            Ok(Some(header)) => prop_assert_eq!(header.length, FIXED_BYTES + usize::from(length)),
            Ok(None) => prop_assert!(told.len() < usize::from(length)),
            Err(MalformedProxyHeader) => {}
        }
    }

    #[test]
    fn any_line_is_read_or_refused(line in "PROXY (TCP4|TCP6|UNKNOWN)( [0-9a-f.:]{0,20}){0,5}(\r\n)?.{0,10}") {
        if let Ok(Some(header)) = ProxyHeader::read(line.as_bytes()) {
            prop_assert!(line.as_bytes()[..header.length].ends_with(b"\r\n") && header.length <= LINE_BYTES_MAX);
        }
    }
}
