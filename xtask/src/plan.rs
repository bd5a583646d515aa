//! What `cargo xtask test` runs, in order: the one list of parts, and the one table of tests that need other programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::bench;
use crate::install::{
    self, CARGO_DENY, CARGO_FUZZ, CHROME_DRIVER, CHROMIUM, CargoCommand, FIREFOX, HAPROXY, NGINX, NODE, PROMTOOL,
    PythonProgram, REDIS, SCHEMATHESIS, STRACE, Tool, VALGRIND, WEBKIT_DRIVER, XVFB,
};
use crate::instructions::ARCHITECTURE;
use crate::process::Run;

/// The tests that need more than the hub, or much time: each a test program of `crates/tidewire`, and what it needs.
/// Every other test program there is a black-box test.
const TESTS_WITH_NEEDS: [(&str, &[Need]); 12] = [
    ("stalled_readers", &[]),
    ("full_disk", &[Need::Mounting]),
    ("read_only_disk", &[Need::Mounting]),
    ("failing_disk", &[Need::Tool(&STRACE), Need::Tracing]),
    ("stuck", &[Need::Tool(&STRACE), Need::Tracing]),
    ("slow_start", &[Need::Tool(&STRACE), Need::Tracing]),
    ("bench_redis", &[Need::Tool(&REDIS)]),
    ("behind_proxies", &[Need::Tool(&NGINX), Need::Tool(&HAPROXY)]),
    ("promtool", &[Need::Tool(&PROMTOOL)]),
    ("browser_chromium", &[Need::Tool(&CHROMIUM), Need::Tool(&CHROME_DRIVER)]),
    ("browser_firefox", &[Need::Tool(&FIREFOX)]),
    ("browser_webkit", &[Need::Tool(&WEBKIT_DRIVER), Need::Tool(&XVFB)]),
];

/// The test that a Python program makes of the API's own document.
const API_TEST: &str = "schemathesis";

/// Seconds for each fuzz target.
const FUZZ_SHORT_S: u32 = 20;
const FUZZ_LONG_S: u32 = 300;

/// Where a short run begins, so that what it finds is due to the change at hand. Long runs begin anywhere, and print where.
const FUZZ_SHORT_SEED: u32 = 1;

/// Set to `1` for the tests of a long run, which then do more of the same: more kills, more seeds. A name that begins
/// with `TIDEWIRE_` would be a key of the hub's configuration, which refuses those that it does not know.
const LONG_VARIABLE: &str = "XTASK_LONG";

/// What a passing black-box test has to say: how often it killed the hub, and what fell with it.
const SHOW_VERDICTS: [&str; 2] = ["--", "--show-output"];

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// For every change: it aims at 40 minutes on 2 cores, from a fresh clone.
    Short,
    /// Everything there is.
    Long,
}

/// One row of the table at the end.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) needs: Vec<Need>,
    pub(crate) work: Work,
}

/// What must be there for a part to run; where it is not, the part is skipped.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    Tool(&'static Tool),
    Fuzzing,
    /// The right to mount file systems.
    Mounting,
    /// The right to trace processes.
    Tracing,
    /// The processor that the recorded counts of instructions are of.
    Architecture,
    /// Another part, which passed or was not asked for.
    Part(&'static str),
}

/// What a part does.
pub(crate) enum Work {
    /// Programs, one after the other; all of them run, whichever fails.
    Programs(Vec<Run>),
    /// The same with test programs, in which there must be tests.
    Tests(Vec<Run>),
    Packages,
    /// The same, with a cargo command that may have to be installed first.
    CargoCommand(CargoCommand, Vec<Run>),
    /// The same with tests, and a Python program.
    PythonProgram(PythonProgram, Vec<Run>),
    Tidy,
    Instructions,
}

/// The names of the parts on which others depend.
const BUILD: &str = "build";

pub(crate) fn parts(root: &Path, scale: Scale) -> Vec<Part> {
    let part = |name, work| Part { name, needs: Vec::new(), work };
    let programs = |name, runs: Vec<Run>| part(name, Work::Programs(runs));
    let built = |name, runs: Vec<Run>| Part { name, needs: vec![Need::Part(BUILD)], work: Work::Tests(runs) };
    let test = || {
        let run = Run::cargo("test").with(["--no-fail-fast"]);
        if scale == Scale::Long { run.variable(LONG_VARIABLE, "1") } else { run }
    };
    let (own, others): (Vec<_>, Vec<_>) =
        targets(root, "tests").into_iter().partition(|(package, _)| package == "tidewire");
    let black_box: Vec<String> = own.into_iter().map(|(_, name)| name).filter(|name| !has_needs(name)).collect();
    let others: BTreeSet<String> = others.into_iter().map(|(_, name)| name).collect();

    let mut parts = vec![
        part("install", Work::Packages),
        programs("fmt", vec![Run::new("cargo", &["fmt", "--all", "--", "--check"])]),
        part("tidy", Work::Tidy),
        programs("clippy", vec![Run::cargo("clippy").with(["--all-targets", "--", "-D", "warnings"])]),
        programs("rustdoc", vec![Run::cargo("doc").with(["--no-deps"]).variable("RUSTDOCFLAGS", "-D warnings")]),
        part(
            "deny",
            Work::CargoCommand(CARGO_DENY, vec![Run::new("cargo", &["deny", "check", "licenses", "bans", "sources"])]),
        ),
        programs(
            "peers",
            vec![
                peer(&["fmt"], &["--check"]),
                peer(&["clippy", "--locked"], &["--all-targets", "--", "-D", "warnings"]),
            ],
        ),
        part("peers-tests", Work::Tests(vec![peer(&["test", "--locked"], &[])])),
        programs(BUILD, vec![Run::cargo("test").with(["--no-run"])]),
        built("unit", vec![test().with(["--lib", "--bins"]).with(each("--test", others))]),
        built("doctest", vec![test().with(["--doc"])]),
    ];
    let scripts = scripts(root);
    if !scripts.is_empty() {
        let run = Run::new("node", &["--test", "--test-reporter=tap"]).with(scripts);
        parts.push(Part { name: "javascript", needs: vec![Need::Tool(&NODE)], work: Work::Tests(vec![run]) });
    }
    if !black_box.is_empty() {
        parts.push(built("black-box", vec![test().with(each("--test", black_box)).with(SHOW_VERDICTS)]));
    }
    for (name, needs) in TESTS_WITH_NEEDS {
        let mut part = built(name, vec![test().with(["--test", name]).with(SHOW_VERDICTS)]);
        part.needs.extend(needs);
        parts.push(part);
    }
    let program = SCHEMATHESIS.path(root).display().to_string();
    let run = test().with(["--test", API_TEST]).with(SHOW_VERDICTS).variable("SCHEMATHESIS", &program);
    let work = Work::PythonProgram(SCHEMATHESIS, vec![run]);
    parts.push(Part { name: API_TEST, needs: vec![Need::Part(BUILD)], work });
    parts.push(Part {
        name: "instructions",
        needs: vec![Need::Part(BUILD), Need::Architecture, Need::Tool(&VALGRIND)],
        work: Work::Instructions,
    });
    let fuzz_targets = stems(&root.join("fuzz/fuzz_targets"));
    if !fuzz_targets.is_empty() {
        let limits = match scale {
            Scale::Long => vec![format!("-max_total_time={FUZZ_LONG_S}")],
            Scale::Short => vec![format!("-max_total_time={FUZZ_SHORT_S}"), format!("-seed={FUZZ_SHORT_SEED}")],
        };
        let run = |target: &String| Run::new("cargo", &["+nightly", "fuzz", "run", target, "--"]).with(limits.clone());
        let runs = fuzz_targets.iter().map(run).collect();
        parts.push(Part { name: "fuzz", needs: vec![Need::Fuzzing], work: Work::CargoCommand(CARGO_FUZZ, runs) });
    }
    if scale == Scale::Long {
        let benchmarks = each("--bench", targets(root, "benches").into_iter().map(|(_, name)| name));
        parts.push(programs(
            "benchmarks",
            vec![Run::new("cargo", &["bench", "--workspace", "--locked"]).with(benchmarks)],
        ));
    }
    parts
}

impl Need {
    /// Why the part cannot run, or nothing if it can. `failed` names the parts that did not pass.
    pub(crate) fn missing(&self, failed: &[&str]) -> Option<String> {
        match self {
            Self::Tool(tool) => tool.missing(),
            Self::Fuzzing => install::fuzzing_missing(),
            Self::Mounting => install::mounting_missing(),
            Self::Tracing => install::tracing_missing(),
            Self::Architecture => {
                let other = std::env::consts::ARCH != ARCHITECTURE;
                other.then(|| format!("the counts are those of {ARCHITECTURE}"))
            }
            Self::Part(name) => failed.contains(name).then(|| format!("{name} failed")),
        }
    }
}

/// Cargo on the floor, which is a project of its own.
fn peer(command: &[&str], options: &[&str]) -> Run {
    let manifest = format!("{}/Cargo.toml", bench::FLOOR);
    let place = ["--manifest-path", &manifest];
    Run::new("cargo", &[command, &place, options].concat())
}

fn has_needs(name: &str) -> bool {
    name == API_TEST || TESTS_WITH_NEEDS.iter().any(|(test, _)| *test == name)
}

/// The test programs or benchmarks of the workspace, as package folder and name: files in `tests` or `benches`, and
/// folders there with a `main.rs`. They are named one by one in a single call of cargo for the whole workspace, since
/// another choice of packages is another choice of features, and compiles everything again.
fn targets(root: &Path, kind: &str) -> Vec<(String, String)> {
    let mut targets = Vec::new();
    for package in folders(&root.join("crates")) {
        let folder = root.join("crates").join(&package).join(kind);
        let nested = folders(&folder).into_iter().filter(|name| folder.join(name).join("main.rs").is_file());
        targets.extend(stems(&folder).into_iter().chain(nested).map(|name| (package.clone(), name)));
    }
    targets
}

/// The flag before each of the names.
fn each(flag: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    names.into_iter().flat_map(|name| [flag.to_owned(), name]).collect()
}

/// The Node tests of the workspace, as paths from its root.
fn scripts(root: &Path) -> Vec<String> {
    let folder = "crates/server/tests/page";
    let files = names(&root.join(folder)).into_iter().filter(|name| name.ends_with(".test.mjs"));
    files.map(|name| format!("{folder}/{name}")).collect()
}

/// The names of the Rust files in a folder, without their ending; none if there is no such folder.
fn stems(folder: &Path) -> Vec<String> {
    names(folder).iter().filter_map(|name| name.strip_suffix(".rs")).map(str::to_owned).collect()
}

fn folders(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| folder.join(name).is_dir()).collect()
}

/// What lies in a folder, sorted; nothing if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
