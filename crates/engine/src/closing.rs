//! Connections that end with an answer.

use std::io::{self, Read, Write};

use mio::{Interest, Token};
use tidewire_core::ClientAddress;

use crate::heads::{HeadKey, Stage};
use crate::reactor::{HEAD_BIT, Reactor};
use crate::transport::Transport;

/// How much is read behind an answer that ends a connection, in bytes: who sends more than that is reset.
const UNWANTED_BYTES_MAX: usize = 256 * 1024;

impl Reactor {
    /// Answers as far as the socket takes it at once, says that there is no more, and waits for the
    /// client to close.
    pub(crate) fn answer_last(&mut self, mut socket: Transport, peer: ClientAddress, answer: &[u8]) {
        let is_pipe = matches!(socket, Transport::Pipe(_));
        let token = Token(HEAD_BIT | self.heads.next_key().index());
        let ended = socket
            .write(answer)
            .and_then(|_| socket.end_writing())
            .and_then(|()| self.poll.registry().reregister(&mut socket, token, Interest::READABLE));
        match ended {
            // Its reader has it, and nothing is waited for.
            Ok(()) if is_pipe => {}
            Ok(()) => {
                self.heads.insert(socket, peer, Vec::new(), Stage::Closing, self.now_ms);
            }
            Err(error) => tracing::debug!(%error, "failed to answer a connection that is closed"),
        }
    }

    pub(crate) fn read_closing(&mut self, key: HeadKey) {
        let Some(connection) = self.heads.get_mut(key) else { return };
        match connection.socket.read(&mut self.scratch) {
            Ok(0) => drop(self.heads.remove(key)),
            Ok(read) => {
                connection.seen += read;
                if connection.seen > UNWANTED_BYTES_MAX {
                    drop(self.heads.remove(key));
                } else {
                    self.heads.note_readable(key);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.heads.note_readable(key),
            Err(_) => drop(self.heads.remove(key)),
        }
    }
}
