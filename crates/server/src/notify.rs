//! Telling whoever started the hub how it is with it, as systemd wants it (`sd_notify(3)`, `Type=notify`).

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;

/// Names the socket to tell it on, if anybody wants to know.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// How it is with the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It serves.
    Ready,
    /// It has been told to stop.
    Stopping,
}

impl State {
    fn text(self) -> &'static [u8] {
        match self {
            State::Ready => b"READY=1\n",
            State::Stopping => b"STOPPING=1\n",
        }
    }
}

/// Tells it. Nobody may want to know, or be there any more.
pub(crate) fn tell(state: State) {
    let Some(place) = std::env::var_os(VARIABLE).filter(|place| !place.is_empty()) else { return };
    if let Err(error) = send(&place, state.text()) {
        tracing::warn!(%error, ?state, "failed to tell whoever started the hub ({VARIABLE})");
    }
}

fn send(place: &OsString, text: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Whoever does not read must not hold the hub up.
    socket.set_nonblocking(true)?;
    match place.as_encoded_bytes().strip_prefix(b"@") {
        None => socket.send_to(text, place)?,
        Some(name) => send_to_abstract(&socket, text, name)?,
    };
    Ok(())
}

#[cfg(target_os = "linux")]
fn send_to_abstract(socket: &UnixDatagram, text: &[u8], name: &[u8]) -> io::Result<usize> {
    use std::os::linux::net::SocketAddrExt;
    socket.send_to_addr(text, &std::os::unix::net::SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn send_to_abstract(_: &UnixDatagram, _: &[u8], _: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
