//! Every link from one document of ours to another, or to a heading, leads somewhere.

use std::fs;
use std::path::Path;

use super::Text;

/// The links of one Markdown file that lead nowhere. Links to other machines are not followed.
pub(super) fn findings(text: &Text, root: &Path) -> Vec<String> {
    if !text.path.ends_with(".md") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, target) in links(&text.content) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
        let folder = root.join(&text.path).parent().map(Path::to_owned).unwrap_or_default();
        let place = if file.is_empty() { root.join(&text.path) } else { folder.join(file) };
        if !place.exists() {
            findings.push(format!("{}:{number}: there is no {file}", text.path));
        } else if let Some(heading) = heading {
            let headings = fs::read_to_string(&place).map(|content| anchors(&content)).unwrap_or_default();
            if !headings.iter().any(|anchor| anchor == heading) {
                findings.push(format!("{}:{number}: {target} names no heading", text.path));
            }
        }
    }
    findings
}

/// `](target)` outside code, with the line it is on.
fn links(content: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (number, line) in prose(content) {
        // Every second piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            let targets = piece.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            links.extend(targets.map(|target| (number, target)));
        }
    }
    links
}

/// The anchors that the usual renderers give to headings: lower case, spaces to dashes, other signs dropped.
fn anchors(content: &str) -> Vec<String> {
    let headings = prose(content).filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): (usize, &str)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The numbered lines outside fenced code.
fn prose(content: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(content.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::{anchors, links};

    #[test]
    fn links_outside_code() {
        let content = "see [a](b.md) and [`c`](d.md#e)\n```\n[x](y)\n```\nnot `[x](y)`, but [z](w)\n";
        assert_eq!(links(content), [(1, "b.md"), (1, "d.md#e"), (5, "w")]);
    }

    #[test]
    fn anchors_of_headings() {
        assert_eq!(anchors("# The hub's `log`: 2\n## Why?\n"), ["the-hubs-log-2", "why"]);
    }
}
