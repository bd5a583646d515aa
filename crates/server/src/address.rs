//! Where the clients of requests are: the other end of their connections, or whom a proxy that is trusted names.

use http::request::Parts;
use tidewire_core::TrustedProxies;
use tidewire_engine::{ClientAddress, Head};

/// Where the client of a request is whose head a shard has read.
pub(crate) fn of_head(head: &Head<'_>, trusted: &TrustedProxies) -> ClientAddress {
    let headers = head.headers.iter().map(|header| (header.name, header.value));
    tidewire_core::client_address(head.peer, headers, trusted)
}

/// Where the client of a request is that came on a connection of this peer.
pub(crate) fn of_parts(peer: ClientAddress, parts: &Parts, trusted: &TrustedProxies) -> ClientAddress {
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    tidewire_core::client_address(peer, headers, trusted)
}
