//! Writes what the documentation has from the code: the tests that find a difference write it down where they are told to.

use std::path::Path;

use crate::process::Run;

/// Told to the tests, among which only those called `documentation` run.
const WRITE_VARIABLE: &str = "TIDEWIRE_WRITE_DOCS";

/// Writes the tables anew. The error is a fragment that fits "failed: …".
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for (package, target) in [("tidewire-server", "--lib"), ("tidewire", "--bins")] {
        let arguments = ["test", "--locked", "--package", package, target, "documentation"];
        Run::new("cargo", &arguments).variable(WRITE_VARIABLE, "1").run(root).1?;
    }
    Ok(())
}
