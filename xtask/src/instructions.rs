//! Holds what the log, the shards and admission do all the time to the instructions that it took when they were last recorded. Unlike
//! times, they are the same on a busy machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Run;

/// Where the recorded counts are, one a line.
const FILE: &str = "xtask/instructions.txt";

/// The programs whose instructions are counted: examples of the log, of the core and of the server.
const LOG: &str = "instructions";
const MATCHING: &str = "matching_instructions";
const HEADS: &str = "head_instructions";

/// What the server's example needs.
const MEASURING: &str = "tidewire-server/measuring";

/// On other machines the counts are others.
pub(crate) const ARCHITECTURE: &str = "x86_64";

/// How far a count may lie from the recorded one, in percent.
const TOLERANCE_PERCENT: f64 = 5.0;

/// Events for nobody are to cost as much whether there are no subscribers of other topics or so many, within so many
/// percent.
const ALIKE: [&str; 2] = ["elsewhere-0", "elsewhere-10000"];
const ALIKE_PERCENT: f64 = 1.0;

/// In memory, where there is such a place: syncing to a disk takes time, and no instructions of ours.
const MEMORY: &str = "/dev/shm";

const HEAD: &str = "\
# Instructions of what crates/log/examples/instructions.rs, crates/core/examples/matching_instructions.rs and
# crates/server/examples/head_instructions.rs do, as callgrind counts them on x86_64 in the `ci` profile.
# `cargo xtask test instructions` fails where a count is off by more than 5 %; `cargo xtask instructions --record` writes
# them anew. A rise needs a reason in the commit.
";

/// What is counted.
struct Scenario {
    name: &'static str,
    runs: Runs,
    counted: Counted,
}

/// What is run.
#[derive(Clone, Copy)]
enum Runs {
    /// On a log with events.
    Filled,
    /// On one without.
    New,
    /// Matching, with so many subscribers of other topics.
    Matching(&'static str),
    /// A thousand heads, each of a reader who missed 100 events.
    Heads,
}

/// What of a run counts.
enum Counted {
    /// What the program calls through its function `measured`.
    Measured,
    /// All threads of the whole run, less those of another scenario on the same kind of log.
    WholeLess(&'static str),
}

const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "append", runs: Runs::New, counted: Counted::WholeLess("open") },
    Scenario { name: "start", runs: Runs::Filled, counted: Counted::Measured },
    Scenario { name: "rare", runs: Runs::Filled, counted: Counted::Measured },
    Scenario { name: "page", runs: Runs::Filled, counted: Counted::Measured },
    Scenario { name: ALIKE[0], runs: Runs::Matching("0"), counted: Counted::Measured },
    Scenario { name: ALIKE[1], runs: Runs::Matching("10000"), counted: Counted::Measured },
    Scenario { name: "heads", runs: Runs::Heads, counted: Counted::Measured },
];

/// Counts, and compares with what is recorded. The error is a fragment that fits "failed: …".
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let text = fs::read_to_string(root.join(FILE)).map_err(|error| format!("{FILE} cannot be read: {error}"))?;
    let recorded = parse(&text)?;
    let counted = count(root)?;
    let mut off = Vec::new();
    println!("\n{:15}  {:>12}  {:>12}  {:>8}", "scenario", "recorded", "counted", "change");
    for (name, instructions) in &counted {
        let Some(before) = recorded.get(*name) else {
            off.push(format!("{name} is not recorded"));
            continue;
        };
        let change = percent(*before, *instructions);
        println!("{name:15}  {before:>12}  {instructions:>12}  {change:>+7.2}%");
        off.extend(judge(name, change));
    }
    off.extend(judge_alike(&counted));
    if off.is_empty() { Ok(()) } else { Err(off.join("; ")) }
}

/// Counts, and writes down what came of it.
pub(crate) fn record(root: &Path) -> Result<(), String> {
    let counted = count(root)?;
    let lines = counted.iter().map(|(name, instructions)| format!("{name} {instructions}\n"));
    let text = HEAD.to_owned() + &lines.collect::<String>();
    print!("{text}");
    fs::write(root.join(FILE), text).map_err(|error| format!("{FILE} cannot be written: {error}"))
}

fn parse(text: &str) -> Result<BTreeMap<&str, u64>, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let entry = |line| {
        let (name, instructions) = str::split_once(line, ' ')?;
        Some((name, instructions.parse().ok()?))
    };
    lines.map(|line| entry(line).ok_or_else(|| format!("{FILE}: {line:?} is no name with a count"))).collect()
}

fn percent(before: u64, now: u64) -> f64 {
    (now as f64 - before as f64) * 100.0 / (before.max(1) as f64)
}

fn judge(name: &str, change: f64) -> Option<String> {
    if change > TOLERANCE_PERCENT {
        Some(format!("{name} takes {change:.1} % more instructions than recorded"))
    } else if change < -TOLERANCE_PERCENT {
        Some(format!("{name} takes {:.1} % fewer instructions: run cargo xtask instructions --record", -change))
    } else {
        None
    }
}

/// What is wrong with those two that are to be alike.
fn judge_alike(counted: &[(&str, u64)]) -> Option<String> {
    let of = |name| counted.iter().find(|(of, _)| *of == name).map_or(0, |(_, instructions)| *instructions);
    let change = percent(of(ALIKE[0]), of(ALIKE[1]));
    let is_off = change.abs() > ALIKE_PERCENT;
    is_off.then(|| format!("{} takes {change:+.1} % of {}, and is to take as much", ALIKE[1], ALIKE[0]))
}

/// The scenarios with their instructions.
fn count(root: &Path) -> Result<Vec<(&'static str, u64)>, String> {
    Run::cargo("build")
        .with(["-p", "tidewire-log", "-p", "tidewire-core", "-p", "tidewire-server", "--features", MEASURING])
        .with(["--example", LOG, "--example", MATCHING, "--example", HEADS])
        .run(root)
        .1?;
    let place = Place::new()?;
    let filled = place.0.join("filled").display().to_string();
    Run::new(&program(LOG)?, &["fill", &filled]).run(root).1?;
    let callgrind = |scenario: &str, runs: Runs, options: &[&str]| {
        let command = match runs {
            Runs::Filled => vec![program(LOG)?, scenario.to_owned(), filled.clone()],
            Runs::New => vec![program(LOG)?, scenario.to_owned(), place.0.join(scenario).display().to_string()],
            Runs::Matching(subscribers) => vec![program(MATCHING)?, subscribers.to_owned()],
            Runs::Heads => vec![program(HEADS)?],
        };
        let output = place.0.join("callgrind.out");
        Run::new("valgrind", &["--tool=callgrind", "-q"])
            .with(options.iter().copied())
            .with([format!("--callgrind-out-file={}", output.display())])
            .with(command)
            .run(root)
            .1?;
        let text = fs::read_to_string(&output).map_err(|error| format!("callgrind left nothing: {error}"))?;
        total(&text).filter(|&total| total > 0).ok_or_else(|| format!("callgrind counted nothing of {scenario}"))
    };
    let one = |scenario: &Scenario| {
        let instructions = match scenario.counted {
            Counted::Measured => {
                callgrind(scenario.name, scenario.runs, &["--toggle-collect=*instructions::measured*"])?
            }
            Counted::WholeLess(other) => {
                let whole = callgrind(scenario.name, scenario.runs, &[])?;
                whole.saturating_sub(callgrind(other, scenario.runs, &[])?)
            }
        };
        Ok((scenario.name, instructions))
    };
    SCENARIOS.iter().map(one).collect()
}

/// The sum in callgrind's output.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse().ok())
}

/// Where cargo put a program: beside this one, which it built as well.
fn program(name: &str) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's file is not known: {error}"))?;
    let target = own.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
    Ok(target.join("ci/examples").join(name).display().to_string())
}

/// A folder that is removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Place, String> {
        let memory = Path::new(MEMORY);
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("tidewire-instructions-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{} cannot be made: {error}", folder.display()))?;
        Ok(Place(folder))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left in memory is gone with the next start.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::{ALIKE, HEAD, SCENARIOS, judge, judge_alike, parse, percent, total};

    #[test]
    fn counts_are_read_behind_comments() {
        let text = format!("{HEAD}append 100\n\nstart 7\n");
        let recorded = parse(&text).expect("it is well formed");
        assert_eq!((recorded["append"], recorded["start"], recorded.len()), (100, 7, 2));
        assert!(parse("append many\n").is_err() && parse("append\n").is_err());
    }

    #[test]
    fn both_ways_off_are_told() {
        assert_eq!(judge("x", percent(1_000, 1_050)), None);
        assert_eq!(judge("x", percent(1_000, 950)), None);
        assert!(judge("x", percent(1_000, 1_051)).is_some_and(|text| text.contains("more")));
        assert!(judge("x", percent(1_000, 949)).is_some_and(|text| text.contains("--record")));
        assert!(judge("x", percent(0, 10)).is_some());
    }

    #[test]
    fn what_is_to_be_alike_may_be_one_percent_off() {
        let alike = |many| judge_alike(&[(ALIKE[0], 1_000), ("other", 7), (ALIKE[1], many)]);
        assert_eq!((alike(1_010), alike(990)), (None, None));
        assert!(alike(1_011).is_some() && alike(989).is_some());
    }

    #[test]
    fn callgrind_is_understood() {
        assert_eq!(total("version: 1\nevents: Ir\nsummary: 12\n1 2\ntotals: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn every_scenario_is_recorded() {
        let recorded = parse(include_str!("../instructions.txt")).expect("it is well formed");
        assert!(SCENARIOS.iter().all(|scenario| recorded.contains_key(scenario.name)));
        assert_eq!(recorded.len(), SCENARIOS.len());
    }
}
