//! HTTP: the API, configuration, telemetry.
//!
//! The shards of [`tidewire_engine`] ask this crate what becomes of a request head. A plain
//! HTTP/1.1 event stream is theirs; every other connection comes here with the bytes already
//! read, is served by hyper, and goes back when it turns into a stream. All of them are admitted
//! by one pure decision.

mod accept;
mod access;
mod admin;
mod api;
mod config;
mod connection;
mod cors;
mod decide;
#[cfg(test)]
mod documentation;
mod hub;
mod limits;
mod liveness;
#[cfg(feature = "measuring")]
mod measuring;
mod metrics;
mod problem;
mod query;
mod reload;
mod request_log;
mod serve;
mod shutdown;
mod stream;
mod system;
mod telemetry;
#[cfg(any(test, feature = "measuring"))]
mod testing;
mod time;
mod tls;
mod trace;

pub use config::{
    Config, ConfigError, Durability, ENVIRONMENT_PREFIX, KEYS, Key, LogFormat, LogLevel, PublicUrl, RequestLogging,
    Sources,
};
pub use cors::AllowedOrigins;
#[cfg(feature = "measuring")]
pub use measuring::Measuring;
pub use serve::{ServeError, serve};
pub use tidewire_log::OnDamage;
pub use tls::{TlsError, TlsFile, TlsFiles};
