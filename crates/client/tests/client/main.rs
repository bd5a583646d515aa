//! The client against hand-written servers.

mod misbehaving;
mod publish;
mod support;
mod time;
mod tls;
