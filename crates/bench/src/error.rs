use std::io;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The system refused something.
    #[error("failed to {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is measured did not do what it was asked.
    #[error("{program} {what}")]
    Program {
        /// What is measured: `the hub`, `redis-server`.
        program: &'static str,
        /// What it did, or did not.
        what: String,
    },
    /// The arguments do not go together.
    #[error("{0}")]
    Usage(String),
}

impl BenchError {
    /// For `map_err`: a refusal of the system.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let what = what.into();
        move |source| BenchError::Io { what, source }
    }

    /// The hub did something else.
    pub(crate) fn hub(what: impl Into<String>) -> BenchError {
        BenchError::Program { program: "the hub", what: what.into() }
    }
}
