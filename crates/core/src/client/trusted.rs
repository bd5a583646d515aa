use std::net::IpAddr;

use super::ClientAddress;

/// There may be so many addresses and networks: each address that is told is compared with all of them.
const TRUSTED_MAX: usize = 1_000;

/// The proxies that are believed when they say where a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    unix: bool,
}

/// Why a text is no list of proxies.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTrustedError {
    /// One of them is neither an address nor a network.
    #[error("expected addresses and networks, as 10.0.0.0/8, 192.0.2.1, ::1 or unix:, not {0:?}")]
    Entry(String),
    /// A network's address has bits beyond its prefix.
    #[error("the network of {0} begins at {1}")]
    Bits(String, IpAddr),
    /// There are too many.
    #[error("expected at most {TRUSTED_MAX} addresses and networks")]
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    prefix: u32,
}

impl TrustedProxies {
    /// Addresses and networks with commas between them; `unix:` for whoever connects to a Unix socket.
    ///
    /// # Errors
    /// When one of them is none, or there are more than 1,000.
    pub fn parse(text: &str) -> Result<TrustedProxies, ParseTrustedError> {
        let mut trusted = TrustedProxies::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "unix:" {
                trusted.unix = true;
                continue;
            }
            if trusted.networks.len() == TRUSTED_MAX {
                return Err(ParseTrustedError::TooMany);
            }
            trusted.networks.push(Network::parse(entry)?);
        }
        Ok(trusted)
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether who is there is believed.
    #[must_use]
    pub fn contains(&self, address: ClientAddress) -> bool {
        match address.ip() {
            None => self.unix,
            Some(ip) => self.networks.iter().any(|network| network.contains(ip)),
        }
    }
}

impl Network {
    fn parse(text: &str) -> Result<Network, ParseTrustedError> {
        let wrong = || ParseTrustedError::Entry(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = bits_of(address);
        let prefix = match prefix {
            None => bits,
            Some(prefix) if prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit()) => {
                prefix.parse().ok().filter(|&prefix| prefix <= bits).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let first = masked(address, prefix);
        if first != address {
            return Err(ParseTrustedError::Bits(text.to_owned(), first));
        }
        // IPv4 as IPv6 has it.
        let canonical = first.to_canonical();
        match prefix.checked_sub(bits - bits_of(canonical)) {
            Some(prefix) => Ok(Network { first: canonical, prefix }),
            None => Ok(Network { first, prefix }),
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.prefix) == self.first
    }
}

fn bits_of(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address with nothing but its first `prefix` bits.
fn masked(ip: IpAddr, prefix: u32) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - prefix).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - prefix).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(list: &str, address: &str) -> bool {
        TrustedProxies::parse(list).expect("a list").contains(address.parse().expect("an address"))
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_as_it_does() {
        let list = "10.0.0.0/8, 192.0.2.128/25,198.51.100.7,, 2001:db8::/33, fe80::1, ::ffff:203.0.113.0/120";
        for address in ["10.255.0.1", "192.0.2.128", "198.51.100.7:443", "2001:db8:7fff::1", "fe80::1", "203.0.113.9"] {
            assert!(trusts(list, address), "{address}");
        }
        for address in [
            "11.0.0.0",
            "192.0.2.127",
            "198.51.100.8",
            "2001:db8:8000::1",
            "fe80::2",
            "203.0.114.0",
            "unix:",
            "::10.0.0.1",
        ] {
            assert!(!trusts(list, address), "{address}");
        }
        assert!(trusts("::ffff:10.0.0.0/104", "::ffff:10.1.2.3"));
    }

    #[test]
    fn all_of_one_family_are_none_of_the_other_and_a_unix_socket_is_neither() {
        assert!(trusts("0.0.0.0/0", "255.255.255.255") && !trusts("0.0.0.0/0", "::1"));
        assert!(trusts("::/0", "::1") && !trusts("::/0", "192.0.2.1"));
        assert!(trusts("unix:", "unix:") && !trusts("0.0.0.0/0,::/0", "unix:") && !trusts("unix:", "::1"));
        assert!(!trusts("", "::1") && TrustedProxies::parse(" , ").expect("a list").is_empty());
        assert!(!TrustedProxies::parse("unix:").expect("a list").is_empty());
    }

    #[test]
    fn what_is_no_list_says_which_part_is_wrong() {
        for entry in [
            "localhost",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "10.0.0.1:80",
            "[::1]",
            "/8",
            "1/0008",
        ] {
            let list = format!("::1, {entry}");
            assert_eq!(TrustedProxies::parse(&list), Err(ParseTrustedError::Entry(entry.to_owned())));
        }
        let refused = TrustedProxies::parse("10.0.0.1/8").expect_err("bits beyond the prefix");
        assert_eq!(refused.to_string(), "the network of 10.0.0.1/8 begins at 10.0.0.0");
    }

    #[test]
    fn one_more_than_the_limit_is_too_many() {
        let list = |count| vec!["::1"; count].join(",");
        assert!(TrustedProxies::parse(&list(TRUSTED_MAX)).is_ok());
        assert_eq!(TrustedProxies::parse(&list(TRUSTED_MAX + 1)), Err(ParseTrustedError::TooMany));
    }
}
