//! Measures what delivering is to reach: builds what is packaged and what it is measured against, and lets them run.

use std::path::Path;

use crate::process::Run;

/// The bare loop, a project of its own.
pub(crate) const FLOOR: &str = "peers/floor";

/// Builds both and measures, with these options of `tidewire bench figures`. The error is a fragment that fits "failed: …".
pub(crate) fn run(root: &Path, options: &[String]) -> Result<(), String> {
    Run::new("cargo", &["build", "--profile", "dist", "--locked", "--package", "tidewire"]).run(root).1?;
    let floor = build_floor(root)?;
    let own = std::env::current_exe().map_err(|error| format!("this program's file is not known: {error}"))?;
    let target = own.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
    let tidewire = target.join("dist/tidewire").display().to_string();
    Run::new(&tidewire, &["bench", "figures", "--floor", &floor]).with(options.iter().cloned()).run(root).1
}

/// Where its binary is, whatever target folder the workspace has.
fn build_floor(root: &Path) -> Result<String, String> {
    let [manifest, target] = ["Cargo.toml", "target"].map(|name| format!("{FLOOR}/{name}"));
    let arguments = ["build", "--release", "--locked", "--manifest-path", &manifest, "--target-dir", &target];
    Run::new("cargo", &arguments).run(root).1?;
    Ok(root.join(target).join("release/floor").display().to_string())
}
