//! Where clients are: what the system says of a connection, and what proxies that are trusted say.

mod addresses;
mod forwarded;
mod proxy_header;
mod trusted;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub(crate) use addresses::Addresses;
pub use forwarded::client_address;
pub use proxy_header::{MalformedProxyHeader, PROXY_HEADER_BYTES_MAX, ProxyHeader};
pub use trusted::{ParseTrustedError, TrustedProxies};

/// Where a client is, as far as is known. IPv4 is IPv4 here, also where a socket for both has it as IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// On a Unix socket, which tells no more.
    Unix,
    /// At an address, of which not every proxy tells the port.
    Ip(IpAddr, Option<u16>),
}

/// The text is neither an address, with or without a port, nor `unix:`.
#[derive(Debug, thiserror::Error)]
#[error("expected an address, with or without a port, or unix:")]
pub struct ParseClientAddressError;

/// The longest text of an address and a port: IPv6 in brackets, which ends as IPv4 does.
const TEXT_BYTES_MAX: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535".len();

impl ClientAddress {
    /// The address without its port, where there is one.
    #[must_use]
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            ClientAddress::Unix => None,
            ClientAddress::Ip(ip, _) => Some(ip),
        }
    }

    /// Whether this is one of those that are meant: with a port, that port alone.
    #[must_use]
    pub fn is_of(self, meant: ClientAddress) -> bool {
        match meant {
            ClientAddress::Ip(_, None) => self.ip() == meant.ip(),
            _ => self == meant,
        }
    }

    /// Reads an address as proxies and people write it: IPv4 and IPv6, the latter also in brackets, with or without a port.
    fn read(text: &[u8]) -> Option<ClientAddress> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        if let Ok(ip) = text.parse() {
            return Some(ClientAddress::new(ip, None));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']')?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
                (host.parse::<Ipv6Addr>().ok()?.into(), port)
            }
            None => {
                let (host, port) = text.split_once(':')?;
                (host.parse().ok()?, Some(port))
            }
        };
        let port = port.map(read_port).map_or(Some(None), |port| port.map(Some))?;
        Some(ClientAddress::new(host, port))
    }

    fn new(ip: IpAddr, port: Option<u16>) -> ClientAddress {
        ClientAddress::Ip(ip.to_canonical(), port)
    }
}

/// A port as it is written, without a sign or zeros before it.
fn read_port(digits: &str) -> Option<u16> {
    let is_canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| is_canonical)
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> ClientAddress {
        ClientAddress::new(address.ip(), Some(address.port()))
    }
}

impl FromStr for ClientAddress {
    type Err = ParseClientAddressError;

    fn from_str(text: &str) -> Result<ClientAddress, ParseClientAddressError> {
        match text {
            "unix:" => Ok(ClientAddress::Unix),
            _ => ClientAddress::read(text.as_bytes()).ok_or(ParseClientAddressError),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ClientAddress::Unix => f.write_str("unix:"),
            ClientAddress::Ip(ip, None) => ip.fmt(f),
            ClientAddress::Ip(ip, Some(port)) => SocketAddr::new(ip, port).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<ClientAddress> {
        text.parse().ok()
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["unix:", "192.0.2.1", "192.0.2.1:0", "192.0.2.1:65535", "2001:db8::1", "[2001:db8::1]:443"] {
            assert_eq!(read(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        assert_eq!(read("[::1]"), read("::1"));
        assert_eq!(read("::ffff:192.0.2.1"), read("192.0.2.1"));
        assert_eq!(read("[::ffff:192.0.2.1]:80"), read("192.0.2.1:80"));
        assert_eq!(
            read("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535").and_then(|it| it.ip()),
            read("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").and_then(|it| it.ip())
        );
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "localhost",
            "127.1",
            "192.0.2.1:",
            ":80",
            "::1:80:x",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[192.0.2.1]",
            "192.0.2.1:+1",
            "192.0.2.1:080",
            "192.0.2.1:65536",
            "192.0.2.01",
            "fe80::1%eth0",
            "unknown",
            "_hidden",
            "unix",
            "192.0.2.1 ",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(ClientAddress::read(b"192.0.2.\xff"), None);
        assert_eq!(ClientAddress::read(&[b'1'; 10_000]), None);
    }

    #[test]
    fn an_address_without_a_port_means_all_of_them() {
        let is_of = |one: &str, meant: &str| read(one).expect("an address").is_of(read(meant).expect("an address"));
        assert!(is_of("192.0.2.1:80", "192.0.2.1") && is_of("192.0.2.1", "192.0.2.1") && is_of("unix:", "unix:"));
        assert!(!is_of("192.0.2.1:80", "192.0.2.1:81") && !is_of("192.0.2.1", "192.0.2.1:80"));
        assert!(!is_of("192.0.2.1", "unix:") && !is_of("unix:", "192.0.2.1"));
    }
}
