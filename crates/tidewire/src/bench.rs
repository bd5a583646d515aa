//! `tidewire bench`: measures a hub from outside.

use anyhow::bail;

/// Measures and reports. A result that is not honest is a failure, whatever its figures.
pub(crate) fn run(args: &tidewire_bench::Args) -> anyhow::Result<()> {
    if !tidewire_bench::run(args, &mut std::io::stdout().lock())? {
        bail!("the figures count for nothing: see the report");
    }
    Ok(())
}
