use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one address of this machine. It has some 28,000 ports, and one that was bound is not to be had again
/// for the minute after its connection ended: several runs share them.
const CONNECTIONS_AN_ADDRESS: u32 = 2_000;

/// Where connections come from, so that ports do not run out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources {
    /// As many as there are, from 127.0.0.1 on; none: the system chooses.
    addresses: u32,
}

impl Sources {
    /// For so many connections to a server. Only loopback has more than one address on every Linux.
    pub(crate) fn new(server: SocketAddr, connections: u32, wanted: Option<u8>) -> Sources {
        let loopback = matches!(server.ip(), IpAddr::V4(address) if address.is_loopback());
        let enough = connections.div_ceil(CONNECTIONS_AN_ADDRESS).min(254);
        let addresses = match wanted.map_or(enough, u32::from) {
            addresses if loopback && cfg!(target_os = "linux") && addresses > 1 => addresses,
            _ => 0,
        };
        Sources { addresses }
    }

    fn address(self, connection: u32) -> Option<SocketAddr> {
        let last = (self.addresses > 0).then(|| 1 + connection % self.addresses)?;
        Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last as u8), 0)))
    }

    /// Begins to connect.
    pub(crate) fn connect(self, connection: u32, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(address) = self.address(connection) {
            socket.bind(&address.into())?;
        }
        match socket.connect(&server.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// Writes what is left from `written` on, as far as the socket takes it. Whether that was all.
pub(crate) fn write_rest(socket: &mut TcpStream, bytes: &[u8], written: &mut usize) -> io::Result<bool> {
    while *written < bytes.len() {
        match socket.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => *written += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // It is not connected yet.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    Nothing,
    End,
}

/// Reads once.
pub(crate) fn receive(socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Received> {
    loop {
        return match socket.read(buffer) {
            Ok(0) => Ok(Received::End),
            Ok(length) => Ok(Received::Bytes(length)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                Ok(Received::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(server: &str, connections: u32, wanted: Option<u8>) -> Vec<String> {
        let sources = Sources::new(server.parse().expect("an address"), connections, wanted);
        (0..3).filter_map(|connection| Some(sources.address(connection)?.ip().to_string())).collect()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_loopback_is_reached_from_several_addresses() {
        assert_eq!(sources("127.0.0.1:80", 4_000, None), ["127.0.0.1", "127.0.0.2", "127.0.0.1"]);
        assert_eq!(sources("127.0.0.1:80", 2_000, None), Vec::<String>::new());
        assert_eq!(sources("127.0.0.1:80", 3, Some(3)), ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        assert_eq!(sources("192.0.2.1:80", 18_000, Some(3)), Vec::<String>::new());
        assert_eq!(sources("[::1]:80", 18_000, None), Vec::<String>::new());
    }
}
