//! The commands, as the binary does them.

mod config;
mod publish;
mod subscribe;
mod support;
mod token;
