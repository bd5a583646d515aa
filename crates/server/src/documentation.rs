//! The pages of the documentation that are made from the code. Each has its prose, and tables between two marks:
//! a test finds those that differ from the code, and writes them anew where `TIDEWIRE_WRITE_DOCS` is set, as
//! `cargo xtask docs` does.

use std::path::Path;

use crate::config::{KEYS, Key};
use crate::hub::Hub;
use crate::limits::{Beyond, Limit, Most};
use crate::metrics::{self, Format};
use crate::problem::{Kind, TYPE_PREFIX};
use crate::testing::Bench;

/// Puts `made` between the marks of `name` on a page, or says that it does not stand there.
fn check(page: &str, name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let begin = format!("<!-- {name}: made by `cargo xtask docs` -->\n\n");
    let end = format!("\n<!-- end of {name} -->");
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{page} has no {begin:?}"));
    let (there, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} has no {end:?}"));
    if there == made {
        return;
    }
    if std::env::var_os("TIDEWIRE_WRITE_DOCS").is_some() {
        std::fs::write(&path, [before, &begin, made, &end, after].concat()).expect("the page can be written");
        return;
    }
    let different = made.lines().zip(there.lines().chain(std::iter::repeat(""))).find(|(made, there)| made != there);
    panic!("docs/{page} is not what the code says; `cargo xtask docs` writes it anew. First difference: {different:?}");
}

fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&header.map(str::to_owned)) + &"|---".repeat(N) + "|\n";
    rows.for_each(|row| text.push_str(&line(&row)));
    text
}

#[test]
fn errors() {
    let row = |kind: &Kind| {
        let name = format!("`{}`", kind.name());
        [name, kind.status().as_u16().to_string(), kind.title().into(), kind.cause().into(), kind.remedy().into()]
    };
    let made = table(["name", "status", "title", "when", "what to do"], Kind::ALL.iter().map(row));
    check("errors.md", "problems", &made);
}

#[test]
fn limits() {
    let is_key = |limit: &Limit| matches!(limit.most(), Most::Key);
    let (keys, others): (Vec<Limit>, Vec<Limit>) = Limit::ALL.iter().partition(|limit| is_key(limit));
    for (name, limits) in [("limits that are keys", keys), ("limits that are fixed", others)] {
        let header = ["limit", "default", "what is counted", "at one more", "metric", "what it costs"];
        check("limits.md", name, &table(header, limits.into_iter().map(limit_row)));
    }
}

fn limit_row(limit: Limit) -> [String; 6] {
    let most = match limit.most() {
        Most::Key => {
            let key = Key::named(limit.name()).unwrap_or_else(|| panic!("{} is no key", limit.name()));
            key.default.map_or("[see there](configuration.md)".to_owned(), |default| format!("`{default}`"))
        }
        Most::Count(count) => thousands(count),
        Most::Bytes(bytes) if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        Most::Bytes(bytes) if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        Most::Bytes(bytes) => format!("{bytes} bytes"),
    };
    let problem = |kind: Kind| format!("{} [`{}`](errors.md)", kind.status().as_u16(), kind.name());
    let (beyond, metric) = match limit.beyond() {
        Beyond::Refused(kind) => {
            (problem(kind), format!("`tidewire_limits_passed_total{{limit=\"{}\"}}`", limit.name()))
        }
        Beyond::Problem(kind) => (problem(kind), format!("`tidewire_problems_total{{problem=\"{}\"}}`", kind.name())),
        Beyond::Else(what, metric) => (what.to_owned(), metric.map_or(String::new(), |metric| format!("`{metric}`"))),
    };
    [format!("`{}`", limit.name()), most, limit.counted().into(), beyond, metric, limit.cost().into()]
}

#[test]
fn live_keys() {
    let live: Vec<String> = KEYS.iter().filter(|key| key.is_live).map(|key| format!("`{}`", key.name)).collect();
    check("configuration.md", "live keys", &format!("{}.\n", live.join(", ")));
}

fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn metrics_page() {
    let bench = Bench::over_tls();
    touch_all(&bench.hub);
    let text = metrics::render(&bench.hub, Format::Prometheus);
    let lines: Vec<&str> = text.lines().collect();
    let row = |line: &&str| {
        let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
        let kind = lines.iter().find_map(|line| line.strip_prefix("# TYPE ")?.strip_prefix(name)?.strip_prefix(' '))?;
        let labels = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split_once('='));
        let labels = labels.map_or(String::new(), |(label, _)| format!("`{label}`"));
        // The library ends each help with a dot.
        let help = help.trim_end_matches('.').replace('|', "\\|");
        Some([format!("`{name}`"), kind.to_owned(), labels, help])
    };
    let rows: Vec<[String; 4]> = lines.iter().filter_map(row).collect();
    for limit in Limit::ALL {
        let Beyond::Else(_, Some(metric)) = limit.beyond() else { continue };
        assert!(rows.iter().any(|[name, ..]| name.trim_matches('`') == metric), "{limit:?}: no metric is {metric}");
    }
    check("metrics.md", "metrics", &table(["metric", "type", "label", "what it is"], rows.into_iter()));
}

/// Counts one of each that has labels, so that they show.
fn touch_all(hub: &Hub) {
    hub.metrics.count_problem(&crate::problem::Problem::new(Kind::TokenInvalid, "").with_token_reason("expired"));
}

#[test]
fn problems_are_called_as_the_pages_say() {
    assert_eq!(TYPE_PREFIX, "urn:tidewire:error:");
    assert_eq!(thousands(1_000_000), "1,000,000");
    assert_eq!([0, 999, 1_000].map(thousands), ["0", "999", "1,000"].map(str::to_owned));
}
