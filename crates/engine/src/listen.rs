use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{Listeners, StartError};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listener a shard, or one for the first. The address is bound once without `SO_REUSEPORT` first: with
/// it, a second hub on the same port would quietly take half of the connections.
pub(crate) fn bind(
    address: SocketAddr,
    shards: usize,
    listeners: Listeners,
) -> Result<(SocketAddr, Vec<Option<TcpListener>>), StartError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Listen { address, source },
    };
    let probe = socket(address).map_err(failed)?;
    probe.bind(&address.into()).map_err(failed)?;
    let bound = probe.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
    drop(probe);
    let listens = |shard| listeners == Listeners::OneEach || shard == 0;
    let listeners = (0..shards).map(|shard| listens(shard).then(|| listener(bound, listeners)).transpose());
    let listeners = listeners.collect::<io::Result<_>>().map_err(failed)?;
    Ok((bound, listeners))
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
/// connections linger.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_to_be_and_a_free_one_is_shared_by_the_shards() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        for (who, expected) in [(Listeners::OneEach, [true, true]), (Listeners::One, [true, false])] {
            let (address, listeners) = bind(any, 2, who).expect("a free port");
            assert_eq!(listeners.iter().map(Option::is_some).collect::<Vec<_>>(), expected);
            for second in [Listeners::OneEach, Listeners::One] {
                let refused = bind(address, 1, second);
                assert!(matches!(refused, Err(StartError::AddressInUse { address: told }) if told == address));
            }
            drop(listeners);
            assert!(bind(address, 1, who).is_ok());
        }
    }
}
