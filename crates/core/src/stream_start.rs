use tidewire_log::Filter;

use crate::{ClientAddress, Start};

/// A stream that was admitted.
#[derive(Clone, Debug)]
pub struct StreamStart {
    /// Status line, headers and empty line; what follows is chunked.
    pub head: Vec<u8>,
    /// After how long the client is told to reconnect, in milliseconds.
    pub retry_ms: u64,
    /// What the subscriber asked for and may read.
    pub filter: Filter,
    /// Where the stream begins.
    pub start: Start,
    /// Who the subscriber is, if it said so.
    pub subject: Option<String>,
    /// Where the client is, if its transport does not say so itself.
    pub client: Option<ClientAddress>,
}
