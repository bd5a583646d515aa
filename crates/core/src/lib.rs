//! The hub's rules as a pure state machine: where a subscriber goes on, who is owed what, and
//! what of it is on the wire. Time comes in as an argument; there are no sockets here.
//!
//! A [`Shard`] holds the subscribers of one thread. Each has a position of its own and is never
//! given anything at or below it; delivering, catching up and being slow are the same operation:
//! write what lies between the position and the watermark.

mod blocks;
mod catch_up;
mod client;
mod cursor;
mod drain;
mod frames;
mod grants;
mod group;
mod held;
mod listed;
mod numbered;
mod own_events;
mod shard;
mod silence;
mod slot;
mod stream_start;
mod subjects;
mod subscribers;

pub use catch_up::{CatchUp, CatchUpRead};
pub use client::{
    ClientAddress, MalformedProxyHeader, PROXY_HEADER_BYTES_MAX, ParseClientAddressError, ParseTrustedError,
    ProxyHeader, TrustedProxies, client_address,
};
pub use cursor::{Cursor, Gap, GapReason, LAST_ID_BYTES_MAX, Start};
pub use drain::{Stagger, farewell, turn_away};
pub use frames::{Frames, VISIT_BYTES_MAX};
pub use own_events::{LAST_CHUNK, QUOTE_BYTES_MAX};
pub use shard::{CaughtUp, Owed, Shard, Wrote};
pub use silence::{Heartbeat, Limits};
pub use slot::SlotKey;
pub use stream_start::StreamStart;
pub use subscribers::{Farewell, Lag, SLOTS_LOOKED_AT_MAX, Subscriber, Subscribers};
