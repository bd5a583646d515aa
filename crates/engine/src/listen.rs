use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tidewire_core::ClientAddress;

use crate::{Listeners, StartError};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Debug)]
pub enum Listen {
    /// At an address of TCP.
    Address(SocketAddr),
    /// On a socket of TCP, or a Unix socket, that listens already: the first shard accepts, and deals connections out.
    Socket(Arc<OwnedFd>),
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Listen {
        Listen::Address(address)
    }
}

/// By which connections come to a shard.
pub(crate) struct Door {
    listener: Listener,
    /// To be dealt out over all shards.
    pub(crate) deals: bool,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    /// The next connection that waits. One of a Unix socket is a `TcpStream` from here on: what is asked of a connection are
    /// the same system calls for both, but for the options of TCP, which a Unix socket does not take.
    pub(crate) fn accept(&self) -> io::Result<(TcpStream, ClientAddress)> {
        match &self.listener {
            Listener::Tcp(listener) => listener.accept().map(|(socket, peer)| (socket, peer.into())),
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                Ok((OwnedFd::from(socket).into(), ClientAddress::Unix))
            }
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.listener {
            Listener::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
            Listener::Unix(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

/// Where the shards listen: the addresses with their real ports, and the doors of each.
pub(crate) struct Bound {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) doors: Vec<Vec<Door>>,
}

/// Opens a door a shard for each address, or one for the first.
pub(crate) fn bind(places: &[Listen], shards: usize, listeners: Listeners) -> Result<Bound, StartError> {
    let mut bound = Bound { addresses: Vec::new(), doors: (0..shards).map(|_| Vec::new()).collect() };
    for place in places {
        match place {
            Listen::Address(address) => bound.add_address(*address, listeners)?,
            Listen::Socket(socket) => bound.add_socket(socket).map_err(StartError::Socket)?,
        }
    }
    Ok(bound)
}

impl Bound {
    /// The address is bound once without `SO_REUSEPORT` first: with it, a second hub on the same port would quietly take
    /// half of the connections.
    fn add_address(&mut self, address: SocketAddr, listeners: Listeners) -> Result<(), StartError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
            _ => StartError::Listen { address, source },
        };
        let probe = socket(address).map_err(failed)?;
        probe.bind(&address.into()).map_err(failed)?;
        let bound = probe.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
        drop(probe);
        let deals = listeners == Listeners::One;
        let who = if deals { 1 } else { self.doors.len() };
        for doors in &mut self.doors[..who] {
            let listener = Listener::Tcp(listener(bound, listeners).map_err(failed)?);
            doors.push(Door { listener, deals });
        }
        self.addresses.push(bound);
        Ok(())
    }

    fn add_socket(&mut self, socket: &OwnedFd) -> io::Result<()> {
        let socket = socket.try_clone()?;
        SockRef::from(&socket).set_nonblocking(true)?;
        let address = SockRef::from(&socket).local_addr()?;
        let listener = match address.as_socket() {
            Some(address) => {
                self.addresses.push(address);
                Listener::Tcp(socket.into())
            }
            None => Listener::Unix(socket.into()),
        };
        self.doors[0].push(Door { listener, deals: true });
        Ok(())
    }
}

fn listener(address: SocketAddr, listeners: Listeners) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    if listeners == Listeners::OneEach {
        // On FreeBSD, SO_REUSEPORT gives all connections to one of those who share.
        #[cfg(target_os = "freebsd")]
        socket.set_reuse_port_lb(true)?;
        #[cfg(not(target_os = "freebsd"))]
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// `SO_REUSEADDR` on the probe and on the listeners, or a restart after a kill fails while old
/// connections linger. An address of IPv6 that is none of this machine's alone takes IPv4 as well, whatever the system's
/// default is.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_to_be_and_a_free_one_is_shared_by_the_shards() {
        let any = [SocketAddr::from(([127, 0, 0, 1], 0)).into()];
        for (who, expected) in [(Listeners::OneEach, [1, 1]), (Listeners::One, [1, 0])] {
            let bound = bind(&any, 2, who).expect("a free port");
            assert_eq!(bound.doors.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            let address = bound.addresses[0];
            for second in [Listeners::OneEach, Listeners::One] {
                let refused = bind(&[address.into()], 1, second);
                assert!(matches!(refused, Err(StartError::AddressInUse { address: told }) if told == address));
            }
            drop(bound);
            assert!(bind(&[address.into()], 1, who).is_ok());
        }
    }

    #[test]
    fn a_socket_that_listens_already_is_for_the_first_shard_to_deal_out() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("an address");
        let bound = bind(&[Listen::Socket(Arc::new(tcp.into()))], 2, Listeners::OneEach).expect("it listens");
        assert_eq!((bound.addresses, bound.doors[0].len(), bound.doors[1].len()), (vec![address], 1, 0));
        assert!(bound.doors[0][0].deals);
    }
}
