//! A hub for this crate's tests, and for what is measured of it.

use std::sync::Arc;

use tidewire_auth::Verifier;
use tidewire_log::{EventLog, MemoryLog, MemoryLogConfig, SimDisk, SystemClock, Tail};
use tidewire_topic::BaseUrl;

use crate::config::{Config, Sources};
use crate::hub::{Hub, Live};

/// The secret of [`Bench::closed`].
pub(crate) const SECRET: [u8; 32] = [9; 32];

/// A hub without an engine, on a log in memory.
pub(crate) struct Bench {
    pub(crate) hub: Arc<Hub>,
}

impl Bench {
    pub(crate) fn dev() -> Bench {
        Bench::with(Vec::new())
    }

    pub(crate) fn with(flags: Vec<(&'static str, String)>) -> Bench {
        let config = Config::load(Sources { dev: true, flags, ..Sources::default() }).expect("a configuration");
        let log: Arc<dyn EventLog> = Arc::new(
            MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(SystemClock)).expect("opened"),
        );
        let tail = Arc::new(Tail::new(1 << 20));
        log.follow(tail.follower());
        let hub = Hub::new(&config, log, tail, 8, 1);
        hub.set_live(Live::new(&config, None, Some(BaseUrl::parse("https://hub.example").expect("a URL"))));
        Bench { hub: Arc::new(hub) }
    }

    /// A hub over TLS.
    #[cfg(test)]
    pub(crate) fn over_tls() -> Bench {
        let mut bench = Bench::dev();
        Arc::get_mut(&mut bench.hub).expect("nobody else has it").tls = Some(Arc::new(crate::tls::tests::any()));
        bench
    }

    /// A hub that asks for tokens.
    pub(crate) fn closed() -> Bench {
        let bench = Bench::dev();
        let mut live = Live::clone(&bench.hub.live());
        live.access.anonymous_reading = false;
        live.access.anonymous_publishing = false;
        live.access.verifier = Some(Verifier::hs256(&SECRET, None).expect("a key"));
        bench.hub.set_live(live);
        bench
    }
}
