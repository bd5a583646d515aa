//! Sockets that whoever starts the hub hands in, as systemd does (`sd_listen_fds(3)`).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use socket2::SockRef;

/// Names the sockets that are handed in, with colons between them.
const NAMES_VARIABLE: &str = "LISTEN_FDNAMES";

/// What systemd calls sockets that have no name, beside the names of their units.
const NAMELESS: [&str; 4] = ["", "unknown", "stored", "connection"];

/// The sockets that were handed in.
#[derive(Debug, Default)]
pub(crate) struct HandedIn {
    /// For clients.
    pub(crate) public: Vec<OwnedFd>,
    /// For health and metrics.
    pub(crate) admin: Vec<OwnedFd>,
}

/// Why a socket that was handed in cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandedInError {
    /// It is not of a kind that the hub can use.
    #[error("socket {number} that was handed in (LISTEN_FDS) is none of TCP, nor a Unix socket for streams")]
    Kind {
        /// The file's number.
        number: usize,
        /// What the system said.
        source: io::Error,
    },
    /// It does not listen.
    #[error("socket {number} that was handed in (LISTEN_FDS) does not listen: for systemd, set Accept=no")]
    Silent {
        /// The file's number.
        number: usize,
    },
    /// It has a name that says nothing to the hub.
    #[error(
        "a socket was handed in for {0:?} (LISTEN_FDNAMES): expected public or admin (FileDescriptorName= of systemd)"
    )]
    Name(String),
    /// With `--dev` others must not reach it.
    #[error("a socket was handed in that listens on {0}: with --dev it must be a loopback address or a Unix socket")]
    Exposed(SocketAddr),
}

impl HandedIn {
    /// Takes what was handed in. To be called before there are other threads, and once.
    pub(crate) fn take(dev: bool) -> Result<HandedIn, HandedInError> {
        let names = std::env::var(NAMES_VARIABLE).unwrap_or_default();
        let mut names = names.split(':');
        let mut files = ListenFd::from_env();
        let mut handed_in = HandedIn::default();
        for index in 0..files.len() {
            let number = 3 + index;
            let socket = take(&mut files, index).map_err(|source| HandedInError::Kind { number, source })?;
            if !is_listening(&socket) {
                return Err(HandedInError::Silent { number });
            }
            if let Some(address) = address(&socket).filter(|address| dev && !address.ip().to_canonical().is_loopback())
            {
                return Err(HandedInError::Exposed(address));
            }
            match names.next().unwrap_or_default() {
                "admin" => handed_in.admin.push(socket),
                "public" => handed_in.public.push(socket),
                name if NAMELESS.contains(&name) || name.ends_with(".socket") => handed_in.public.push(socket),
                name => return Err(HandedInError::Name(name.to_owned())),
            }
        }
        Ok(handed_in)
    }
}

fn take(files: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    if let Ok(Some(listener)) = files.take_tcp_listener(index) {
        return Ok(listener.into());
    }
    let listener = files.take_unix_listener(index)?;
    listener.map(OwnedFd::from).ok_or_else(|| io::Error::other("it was taken before"))
}

fn is_listening(socket: &OwnedFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

/// The address of a socket of TCP.
pub(super) fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    SockRef::from(socket).local_addr().ok()?.as_socket()
}

/// Where a Unix socket is, as it is shown.
pub(super) fn path(socket: &OwnedFd) -> Option<String> {
    let address = SockRef::from(socket).local_addr().ok().filter(socket2::SockAddr::is_unix)?;
    let path = address.as_pathname().map(|path| path.display().to_string());
    Some(format!("unix:{}", path.unwrap_or_default()))
}
