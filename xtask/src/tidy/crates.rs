//! The arrows between crates point one way, and every crate takes the workspace's lints.

use super::Text;

/// What each crate of ours may depend on (not counting its tests). A crate that is missing here has no business yet.
const ARROWS: [(&str, &[&str]); 13] = [
    ("sse", &[]),
    ("topic", &[]),
    ("log", &["sse", "topic"]),
    ("core", &["log", "sse", "topic"]),
    ("auth", &["topic"]),
    ("engine", &["core", "log", "sse", "topic"]),
    ("server", &["auth", "core", "engine", "log", "sse", "topic"]),
    ("client", &["sse"]),
    ("bench", &["sse"]),
    ("sim", &["sse"]),
    ("harness", &["sim", "sse"]),
    ("tidewire", &["auth", "bench", "client", "core", "engine", "log", "server", "sse", "topic"]),
    ("xtask", &[]),
];

/// The findings in one crate's manifest.
pub(super) fn findings(text: &Text) -> Vec<String> {
    let Some(name) = crate_name(&text.path) else { return Vec::new() };
    let mut findings = Vec::new();
    if !text.content.contains("[lints]\nworkspace = true") {
        findings.push(format!("{}: does not take the workspace's lints", text.path));
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        findings.push(format!("{}: has no place in xtask's table of arrows", text.path));
        return findings;
    };
    let mut section = "";
    for (line, number) in text.content.lines().zip(1..) {
        if line.starts_with('[') {
            section = line.trim();
        }
        let Some(dependency) = line.strip_prefix("tidewire-") else { continue };
        let dependency: String = dependency.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if section != "[dev-dependencies]" && !allowed.contains(&dependency.as_str()) {
            findings.push(format!("{}:{number}: {name} must not depend on {dependency}", text.path));
        }
    }
    findings
}

/// `log` of `crates/log/Cargo.toml`.
fn crate_name(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    if folder == "xtask" { Some(folder) } else { folder.strip_prefix("crates/") }
}

#[cfg(test)]
mod tests {
    use super::{Text, findings};

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn check(path: &str, content: &str) -> Vec<String> {
        findings(&Text { path: path.to_owned(), content: content.to_owned() })
    }

    #[test]
    fn an_arrow_against_the_stream_is_found() {
        let manifest =
            format!("{LINTS}[dependencies]\ntidewire-topic.workspace = true\ntidewire-log.workspace = true\n");
        assert!(check("crates/core/Cargo.toml", &manifest).is_empty());
        assert_eq!(check("crates/auth/Cargo.toml", &manifest).len(), 1);
        assert_eq!(check("crates/topic/Cargo.toml", &manifest).len(), 2);
    }

    #[test]
    fn tests_may_depend_on_anything() {
        let manifest = format!("{LINTS}[dev-dependencies]\ntidewire-sim.workspace = true\n");
        assert!(check("crates/engine/Cargo.toml", &manifest).is_empty());
    }

    #[test]
    fn a_crate_without_lints_or_place_is_found() {
        assert_eq!(check("crates/log/Cargo.toml", "").len(), 1);
        assert_eq!(check("crates/strange/Cargo.toml", LINTS).len(), 1);
        assert!(check("Cargo.toml", "").is_empty());
    }
}
