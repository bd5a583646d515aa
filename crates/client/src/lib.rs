//! A client of the hub, and of any other server of `text/event-stream`: it reconnects, resumes and publishes.
//!
//! ```no_run
//! use tidewire_client::{Client, Update};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:7788")?.query("topic", "news");
//! let mut events = client.subscribe();
//! while let Some(update) = events.next().await {
//!     match update {
//!         Update::Event(message) => println!("{}: {}", message.id, message.data),
//!         Update::Gap { reason, .. } => println!("something was missed: {reason}"),
//!         Update::Failed(error) => return Err(error.into()),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Events`] never gives up on a network that fails or a server that is overloaded: it waits by [`Backoff`] and
//! resumes at the last event id. It ends only where the server says so: by 204, or by a status or content type
//! that another try would not change.

mod answer;
mod backoff;
mod client;
mod connect;
mod connection;
mod publish;
mod subscribe;
mod target;
mod update;

pub use backoff::Backoff;
pub use client::{Client, ClientError};
pub use connect::{Connect, Connecting, Io, TcpConnector};
pub use connection::RequestError;
pub use publish::{Failure, NewEvent, PublishError};
pub use subscribe::Events;
pub use target::{Target, UrlError};
pub use update::{DisconnectReason, Refusal, SubscribeError, Update};
