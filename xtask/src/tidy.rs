//! Rules that no linter checks: each is a function from the workspace's files to its findings.

mod crates;
mod links;

use std::fs;
use std::path::Path;

/// A file longer than this needs a reason in [`LONG_FILES`].
const FILE_LINES_MAX: usize = 500;

/// Files that may be longer, and why that reads better than cutting them.
const LONG_FILES: [(&str, &str); 0] = [];

/// Whoever reads the map has to get to its end.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Folders without sources of ours, by name or by path from the root.
const NOT_OURS: [&str; 6] = [".git", "target", "node_modules", "tidewire-data", "fuzz/corpus", "fuzz/artifacts"];

/// The endings of the text files that are looked at.
const TEXTS: [&str; 11] = [".rs", ".toml", ".md", ".js", ".mjs", ".css", ".html", ".json", ".sh", ".yml", "run"];

/// A file of the workspace.
struct Text {
    /// From the root, with `/`.
    path: String,
    content: String,
}

/// Everything that is out of order, as `path:line: what`.
pub(crate) fn findings(root: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    read_folder(root, "", &mut texts);
    texts.sort_by(|one, other| one.path.cmp(&other.path));

    let mut findings = Vec::new();
    for text in &texts {
        findings.extend(too_long(text));
        findings.extend(unfinished(text));
        findings.extend(machine_paths(text, root));
        findings.extend(unexplained_sleeps(text));
        findings.extend(page_against_its_policy(text));
        findings.extend(crates::findings(text));
        findings.extend(links::findings(text, root));
    }
    findings.extend(stale_exceptions(&texts));
    findings
}

fn read_folder(root: &Path, folder: &str, texts: &mut Vec<Text>) {
    for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if NOT_OURS.contains(&name.as_str()) || NOT_OURS.contains(&path.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            read_folder(root, &path, texts);
        } else if TEXTS.iter().any(|ending| name.ends_with(ending)) {
            // A file that is not UTF-8 is data (a wire vector, say), whatever its ending.
            texts.extend(fs::read_to_string(entry.path()).ok().map(|content| Text { path, content }));
        }
    }
}

fn too_long(text: &Text) -> Option<String> {
    let lines = text.content.lines().count();
    if text.path == "ARCHITECTURE.md" && lines > ARCHITECTURE_LINES_MAX {
        return Some(format!("{}: {lines} lines, of at most {ARCHITECTURE_LINES_MAX}", text.path));
    }
    let source = [".rs", ".js", ".mjs", ".css", ".html"].iter().any(|ending| text.path.ends_with(ending));
    let excused = LONG_FILES.iter().any(|(path, _)| *path == text.path);
    (source && lines > FILE_LINES_MAX && !excused)
        .then(|| format!("{}: {lines} lines: cut it, or say in xtask why it reads better whole", text.path))
}

fn stale_exceptions(texts: &[Text]) -> Vec<String> {
    let long = |path: &str| texts.iter().any(|text| text.path == path && text.content.lines().count() > FILE_LINES_MAX);
    let stale = LONG_FILES.iter().filter(|(path, _)| !long(path));
    stale.map(|(path, _)| format!("{path}: is not long any more: take it out of xtask's table")).collect()
}

/// Clippy finds `todo!()`; these are its kind in comments and prose.
fn unfinished(text: &Text) -> Vec<String> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    at_lines(text, |line| {
        let mark = marks.iter().find(|mark| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == **mark))?;
        Some(format!("{mark}: finish it, or write down in an issue what is left"))
    })
}

/// A path of somebody's own machine works nowhere else.
fn machine_paths(text: &Text, root: &Path) -> Vec<String> {
    let root = root.to_string_lossy().into_owned();
    let paths = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), root.as_str()];
    at_lines(text, |line| {
        let found = paths.iter().find(|path| {
            line.match_indices(**path).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && !"._-~}*".contains(c))
            })
        })?;
        Some(format!("{found} is a path of one machine"))
    })
}

/// In a test, a sleep hides a race or wastes time, unless time is paused. Clippy refuses the thread's; the runtime's and
/// the page's need a comment above that says why.
fn unexplained_sleeps(text: &Text) -> Vec<String> {
    let calls = [concat!("sl", "eep("), concat!("setTime", "out(")];
    if text.content.contains("start_paused = true") {
        return Vec::new();
    }
    let mut in_tests = text.path.contains("/tests/");
    let mut explained = false;
    at_lines(text, |line| {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let comment = line.contains("// ") || line.contains("reason =");
        let found = in_tests && calls.iter().any(|call| calls_function(line, call)) && !comment && !explained;
        explained = comment;
        found.then(|| "a sleep in a test without a comment that says why".to_owned())
    })
}

/// Whether a line has a call, and not one of a function whose name only ends like it.
fn calls_function(line: &str, call: &str) -> bool {
    let is_part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(is_part_of_name))
}

/// The page's policy is `default-src 'self'`: what would break it is found here, not by a user. What comes from
/// the hub is shown as text and never becomes markup.
fn page_against_its_policy(text: &Text) -> Vec<String> {
    if !text.path.starts_with("crates/server/assets/") {
        return Vec::new();
    }
    let refused = [
        "://",
        " style=\"",
        " onclick=",
        "<style",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ];
    at_lines(text, |line| {
        let found = refused.iter().find(|word| line.contains(**word))?;
        Some(format!("{found:?} does not go with the page's content security policy"))
    })
}

/// The findings of a rule that looks at one line at a time, each with its place.
fn at_lines(text: &Text, mut rule: impl FnMut(&str) -> Option<String>) -> Vec<String> {
    let lines = text.content.lines().zip(1..);
    lines.filter_map(|(line, number)| Some(format!("{}:{number}: {}", text.path, rule(line)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Text, machine_paths, page_against_its_policy, too_long, unexplained_sleeps, unfinished};

    fn text(path: &str, content: &str) -> Text {
        Text { path: path.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn length() {
        assert!(too_long(&text("crates/a/src/lib.rs", &"\n".repeat(500))).is_none());
        assert!(too_long(&text("crates/a/src/lib.rs", &"\n".repeat(501))).is_some());
        assert!(too_long(&text("conformance/a.json", &"\n".repeat(501))).is_none());
        assert!(too_long(&text("ARCHITECTURE.md", &"\n".repeat(300))).is_none());
        assert!(too_long(&text("ARCHITECTURE.md", &"\n".repeat(301))).is_some());
    }

    #[test]
    fn unfinished_work() {
        assert_eq!(unfinished(&text("a.rs", concat!("// TO", "DO: later"))).len(), 1);
        assert_eq!(unfinished(&text("a.rs", concat!("// METHO", "DO"))), Vec::<String>::new());
    }

    #[test]
    fn paths_of_one_machine() {
        let root = Path::new("/src/tree");
        let count = |line: &str| machine_paths(&text("a.md", line), root).len();
        assert_eq!(count(concat!("see /ho", "me/ann/x")), 1);
        assert_eq!(count("see /src/tree/x"), 1);
        assert_eq!(count(concat!("https://example.com/ho", "me/x")), 0);
        assert_eq!(count("/var/lib/tidewire"), 0);
    }

    #[test]
    fn sleeps() {
        let call = concat!("tokio::time::sl", "eep(STEP).await;");
        let count = |path: &str, content: &str| unexplained_sleeps(&text(path, content)).len();
        assert_eq!(count("crates/a/tests/b.rs", call), 1);
        assert_eq!(count("crates/a/tests/b.rs", &format!("// Between two looks.\n{call}")), 0);
        assert_eq!(count("crates/a/tests/b.rs", &format!("#[tokio::test(start_paused = true)]\n{call}")), 0);
        assert_eq!(count("crates/a/tests/b.rs", concat!("fall_asl", "eep();")), 0);
        assert_eq!(count("crates/a/src/b.rs", call), 0);
        assert_eq!(count("crates/a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{\n{call}")), 1);
    }

    #[test]
    fn policy() {
        let page = "crates/server/assets/index.html";
        assert_eq!(page_against_its_policy(&text(page, "<p style=\"color: red\">")).len(), 1);
        assert_eq!(page_against_its_policy(&text(page, "<p class=\"red\">")).len(), 0);
        assert_eq!(page_against_its_policy(&text("docs/a.md", "https://example.com")).len(), 0);
    }
}
