//! Where the hub listens: at addresses, on Unix sockets, and on sockets that are handed in by whoever starts it.

mod handed_in;
mod unix;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tidewire_engine::Listen;

pub(crate) use handed_in::HandedIn;
pub use handed_in::HandedInError;
use unix::SocketFile;

/// There may be so many addresses for each of the two.
const ADDRESSES_MAX: usize = 16;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// A Unix socket, by its path.
    Unix(PathBuf),
}

/// Where to listen, in one place at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<ListenAddress>);

impl ListenAddress {
    fn parse(text: &str) -> Result<ListenAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let expected = "expected a path from the root, as unix:/run/tidewire/hub.sock";
            if !path.is_absolute() {
                return Err(expected.to_owned());
            }
            socket2::SockAddr::unix(&path)
                .map_err(|error| format!("expected a path that a socket may have ({error})"))?;
            return Ok(ListenAddress::Unix(path));
        }
        let expected =
            "expected an address and a port, as 127.0.0.1:7788 or [::1]:7788, or a socket, as unix:/run/hub.sock";
        text.parse().map(ListenAddress::Tcp).map_err(|_| expected.to_owned())
    }

    /// Whether nobody reaches it from elsewhere.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

impl ListenAddresses {
    /// Addresses with commas between them. The error says what was expected.
    pub(crate) fn parse(text: &str) -> Result<ListenAddresses, String> {
        let addresses: Vec<_> = text.split(',').map(str::trim).map(ListenAddress::parse).collect::<Result<_, _>>()?;
        if addresses.len() > ADDRESSES_MAX {
            return Err(format!("expected at most {ADDRESSES_MAX} addresses"));
        }
        Ok(ListenAddresses(addresses))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ListenAddress> {
        self.0.iter()
    }

    /// The first address of TCP.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        self.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for ListenAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

/// The permissions of a Unix socket's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketMode(u32);

impl SocketMode {
    /// Octal digits, as `0660`.
    pub(crate) fn parse(text: &str) -> Result<SocketMode, String> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777 && !text.starts_with('+'));
        mode.map(SocketMode).ok_or_else(|| "expected permissions in octal digits, as 0660".to_owned())
    }
}

/// Why a place cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("failed to listen on {address} ({key}): stop what listens there, or choose another address")]
    Address {
        /// The address.
        address: ListenAddress,
        /// Which key has it.
        key: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that listens already cannot be used.
    #[error("failed to use a socket that listens")]
    Socket(#[source] io::Error),
}

/// What one of the two listens on: what the shards open themselves, and sockets that listen already.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// Removed before their sockets are closed: whoever finds none listening puts files of its own there.
    files: Vec<SocketFile>,
    pub(crate) places: Vec<Listen>,
    /// Of the Unix sockets.
    pub(crate) paths: Vec<String>,
}

impl Places {
    /// What was handed in, or else what is configured. The Unix sockets that are, listen from here on, and their files are
    /// removed with this.
    pub(crate) fn open(
        key: &'static str,
        configured: &ListenAddresses,
        handed_in: Vec<OwnedFd>,
        mode: SocketMode,
    ) -> Result<Places, ListenError> {
        let mut places = Places::default();
        for socket in handed_in {
            places.paths.extend(handed_in::path(&socket));
            places.places.push(Listen::Socket(Arc::new(socket)));
        }
        if !places.places.is_empty() {
            return Ok(places);
        }
        for address in configured.iter() {
            match address {
                ListenAddress::Tcp(address) => places.places.push(Listen::Address(*address)),
                ListenAddress::Unix(path) => {
                    let failed = |source| ListenError::Address { address: address.clone(), key, source };
                    let (socket, file) = unix::bind(path, mode.0).map_err(failed)?;
                    places.places.push(Listen::Socket(Arc::new(socket)));
                    places.paths.push(address.to_string());
                    places.files.push(file);
                }
            }
        }
        Ok(places)
    }

    /// The first address of TCP.
    pub(crate) fn tcp(&self) -> Option<SocketAddr> {
        self.places.iter().find_map(|place| match place {
            Listen::Address(address) => Some(*address),
            Listen::Socket(socket) => handed_in::address(socket),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for text in ["127.0.0.1:7788", "[::1]:0", "unix:/run/a b.sock", "127.0.0.1:1, [::1]:1, unix:/x"] {
            assert_eq!(ListenAddresses::parse(text).map(|read| read.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "127.0.0.1:1,", "localhost:80", "unix:", "unix:relative", "::1:80", "unix"] {
            assert!(ListenAddresses::parse(text).is_err(), "{text}");
        }
        let many = |count| ListenAddresses::parse(&vec!["[::1]:0"; count].join(","));
        assert!(many(ADDRESSES_MAX).is_ok() && many(ADDRESSES_MAX + 1).is_err());
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_of_this_machine() {
        let is_local = |text| ListenAddress::parse(text).expect("an address").is_of_this_machine();
        assert!(
            is_local("127.0.0.9:1") && is_local("[::1]:1") && is_local("[::ffff:127.0.0.1]:1") && is_local("unix:/x")
        );
        assert!(!is_local("0.0.0.0:1") && !is_local("[::]:1") && !is_local("192.0.2.1:1"));
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!(SocketMode::parse("0660"), Ok(SocketMode(0o660)));
        assert_eq!(SocketMode::parse("777"), Ok(SocketMode(0o777)));
        for text in ["", "0888", "1777", "+660", "rw", "-1"] {
            assert!(SocketMode::parse(text).is_err(), "{text}");
        }
    }
}
