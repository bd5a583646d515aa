//! The commands, as the binary does them.

mod config;
mod exit_codes;
mod publish;
mod subscribe;
mod support;
mod token;
