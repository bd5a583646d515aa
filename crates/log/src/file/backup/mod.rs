//! A log as lines of JSON, and a log made of them; `docs/format.md` describes the lines.

mod builder;
mod export;
mod import;
mod lines;
mod reader;
#[cfg(test)]
mod tests;

pub use export::{ExportConfig, ExportError, ExportSummary};
pub use import::{BackupProblem, ImportConfig, ImportError, ImportSummary, PROBLEMS_LISTED_MAX, import};
pub use lines::LeftOut;
#[cfg(test)]
pub(crate) use lines::{wire_line, wire_record};
