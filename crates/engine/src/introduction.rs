//! The headers of the PROXY protocol, which come before anything else on connections that a proxy passes on.

use std::io::{self, Read};

use tidewire_core::{PROXY_HEADER_BYTES_MAX, ProxyHeader};

use crate::heads::{Connection, HeadKey, Stage};
use crate::reactor::Reactor;
use crate::transport::Transport;
use crate::{Opening, Refusal};

const _: () = assert!(PROXY_HEADER_BYTES_MAX <= crate::reactor::READ_BYTES, "a header is looked at as a whole");

impl Reactor {
    /// Reads the header that says whose connection this is, once it is whole: what follows it is not touched.
    pub(crate) fn read_introduction(&mut self, key: HeadKey) {
        let Some(connection) = self.heads.get_mut(key) else { return };
        let come = match connection.socket.peek(&mut self.scratch) {
            Ok(0) => return drop(self.heads.remove(key)),
            Ok(come) => come,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.heads.note_readable(key),
            Err(_) => return drop(self.heads.remove(key)),
        };
        let header = match ProxyHeader::read(&self.scratch[..come]) {
            Ok(Some(header)) => header,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, peer = %connection.peer, "a proxy has not said whose connection it passes on");
                return self.refuse_head(key, Refusal::NotIntroduced);
            }
        };
        if !matches!(connection.socket.read(&mut self.scratch[..header.length]), Ok(read) if read == header.length) {
            return drop(self.heads.remove(key));
        }
        connection.peer = header.client.unwrap_or(connection.peer);
        match self.shared.config.opening {
            Opening::Head => {
                connection.stage = Stage::Reading;
                self.heads.note_readable(key);
            }
            Opening::Handshake => self.open_introduced(key),
        }
    }

    /// Has somebody take a connection for its handshake, which comes behind the header.
    fn open_introduced(&mut self, key: HeadKey) {
        let Some(Connection { socket: Transport::Tcp(mut socket), peer, .. }) = self.heads.remove(key) else { return };
        match self.poll.registry().deregister(&mut socket) {
            Ok(()) => self.open(socket.into(), peer),
            Err(error) => tracing::error!(%error, "failed to hand a connection over"),
        }
    }
}
