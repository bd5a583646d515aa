//! `text/event-stream` by the rules of the WHATWG HTML standard: events, an encoder and an incremental decoder.
//!
//! The crate does no I/O, needs only `alloc`, and never panics on what a peer sent.
//!
//! ```
//! use tidewire_sse::{Decoder, Event, Item, Limits};
//!
//! let mut wire = Vec::new();
//! Event::new("first\nsecond").with_id("7")?.with_type("greeting")?.encode(&mut wire);
//! assert_eq!(wire, b"id: 7\nevent: greeting\ndata: first\ndata: second\n\n");
//!
//! let mut decoder = Decoder::new(Limits::default());
//! for piece in wire.chunks(5) {
//!     decoder.feed(piece);
//! }
//! let Some(Ok(Item::Event(message))) = decoder.next() else { panic!("one event was fed") };
//! assert_eq!((message.id.as_str(), message.data.as_str()), ("7", "first\nsecond"));
//! # Ok::<(), tidewire_sse::EncodeError>(())
//! ```
#![no_std]

extern crate alloc;

mod decoder;
pub mod encode;
mod event;
mod line;

pub use decoder::{DecodeError, Decoder, Item, Limits, Message};
pub use encode::EncodeError;
pub use event::Event;
