//! The commands, as the binary does them.

mod publish;
mod subscribe;
mod support;
mod token;
