//! Admission as the shards ask for it, without shards: for what `cargo xtask instructions` counts.

use std::sync::Arc;

use tidewire_engine::Admit;
use tidewire_log::{EventLog, Tail};

use crate::stream::Admissions;
use crate::testing::{Bench, SECRET};

/// A hub that asks for tokens, on a log in memory.
pub struct Measuring(Bench);

impl Measuring {
    /// The secret of its tokens (HS256).
    pub const SECRET: [u8; 32] = SECRET;

    /// Makes one, with an empty log.
    ///
    /// # Panics
    /// If its own configuration is none.
    #[must_use]
    pub fn closed() -> Measuring {
        Measuring(Bench::closed())
    }

    /// What the shards ask.
    #[must_use]
    pub fn admissions(&self) -> impl Admit + use<> {
        Admissions(Arc::clone(&self.0.hub))
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> Arc<dyn EventLog> {
        Arc::clone(&self.0.hub.log)
    }

    /// Its newest events.
    #[must_use]
    pub fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.0.hub.tail)
    }
}
