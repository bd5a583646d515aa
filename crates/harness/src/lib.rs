//! What the black-box tests need: the hub as a process that can be killed and started again
//! ([`Hub`]), publishers that never give up ([`Publishers`]), raw readers of any pace
//! ([`RawReader`], [`Crowd`]), browsers ([`browser`]), and HTTP by hand ([`Http`]), so that
//! what the tests see is the wire and not a library's idea of it.
//!
//! Everything is written down as a [`tidewire_sim::History`], which judges. A failure here
//! panics with what was waited for: this crate serves tests only.

pub mod browser;
mod campaign;
mod clock;
mod cost;
mod crowd;
mod elsewhere;
mod frames;
mod http;
mod http2;
mod hub;
mod kill_points;
mod life;
mod mount;
mod numbers;
mod publishers;
mod raw_reader;
mod seed;
mod stopped_log;
mod stream;
mod subscribe;
mod throng;
mod tls;
mod tracer;
mod wall_clock;
mod wire;
mod workload;

pub use campaign::{Campaign, Witness};
pub use clock::{Clock, wait_until};
pub use cost::Cost;
pub use crowd::Crowd;
pub use elsewhere::Elsewhere;
pub use frames::{Chunks, Frames};
pub use http::{Http, Response};
pub use http2::{Http2, Http2Stream, runtime};
pub use hub::{Hub, Refusal, figure, free_port};
pub use kill_points::KillPoints;
pub use life::Life;
pub use mount::{Ballast, ReadOnly, SmallDisk};
pub use numbers::Numbers;
pub use publishers::Publishers;
pub use raw_reader::{Pace, RawReader};
pub use seed::Seed;
pub use stopped_log::{StoppedLog, of_the_future, set_checksum};
pub use stream::EventStream;
pub use subscribe::SubscribeCommand;
pub use throng::{Standing, Throng};
pub use tls::{Authority, Pair};
pub use tracer::Tracer;
pub use wall_clock::WallClock;
pub use workload::Workload;
