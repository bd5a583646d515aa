//! Holds what the log does all the time to the instructions that it took when they were last recorded. Unlike times, they
//! are the same on a busy machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Run;

/// Where the recorded counts are, one a line.
const FILE: &str = "crates/log/instructions.txt";

/// The program whose instructions are counted: an example of the log.
const PROGRAM: &str = "instructions";

/// On other machines the counts are others.
pub(crate) const ARCHITECTURE: &str = "x86_64";

/// How far a count may lie from the recorded one, in percent.
const TOLERANCE_PERCENT: f64 = 5.0;

/// In memory, where there is such a place: syncing to a disk takes time, and no instructions of ours.
const MEMORY: &str = "/dev/shm";

const HEAD: &str = "\
# Instructions of what crates/log/examples/instructions.rs does, as callgrind counts them on x86_64 in the `ci` profile.
# `cargo xtask test instructions` fails where a count is off by more than 5 %; `cargo xtask instructions --record` writes
# them anew. A rise needs a reason in the commit.
";

/// What is counted.
struct Scenario {
    name: &'static str,
    on: Folder,
    counted: Counted,
}

/// Which log the program gets.
#[derive(Clone, Copy)]
enum Folder {
    Filled,
    New,
}

/// What of a run counts.
enum Counted {
    /// What the program calls through its function `measured`.
    Measured,
    /// All threads of the whole run, less those of another scenario on the same kind of log.
    WholeLess(&'static str),
}

const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "append", on: Folder::New, counted: Counted::WholeLess("open") },
    Scenario { name: "start", on: Folder::Filled, counted: Counted::Measured },
    Scenario { name: "rare", on: Folder::Filled, counted: Counted::Measured },
    Scenario { name: "page", on: Folder::Filled, counted: Counted::Measured },
];

/// Counts, and compares with what is recorded. The error is a fragment that fits "failed: …".
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let text = fs::read_to_string(root.join(FILE)).map_err(|error| format!("{FILE} cannot be read: {error}"))?;
    let recorded = parse(&text)?;
    let counted = count(root)?;
    let mut off = Vec::new();
    println!("\n{:10}  {:>12}  {:>12}  {:>8}", "scenario", "recorded", "counted", "change");
    for (name, instructions) in &counted {
        let Some(before) = recorded.get(*name) else {
            off.push(format!("{name} is not recorded"));
            continue;
        };
        let change = percent(*before, *instructions);
        println!("{name:10}  {before:>12}  {instructions:>12}  {change:>+7.2}%");
        off.extend(judge(name, change));
    }
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

/// The scenarios with their instructions.
fn count(root: &Path) -> Result<Vec<(&'static str, u64)>, String> {
    Run::cargo("build").with(["--example", PROGRAM]).run(root).1?;
    let place = Place::new()?;
    let program = program()?;
    let filled = place.0.join("filled");
    Run::new(&program, &["fill", &filled.to_string_lossy()]).run(root).1?;
    let callgrind = |scenario: &str, on: Folder, options: &[&str]| {
        let folder = match on {
            Folder::Filled => filled.clone(),
            Folder::New => place.0.join(scenario),
        };
        let output = place.0.join("callgrind.out");
        Run::new("valgrind", &["--tool=callgrind", "-q"])
            .with(options.iter().copied())
            .with([format!("--callgrind-out-file={}", output.display())])
            .with([program.clone(), scenario.to_owned(), folder.display().to_string()])
            .run(root)
            .1?;
        let text = fs::read_to_string(&output).map_err(|error| format!("callgrind left nothing: {error}"))?;
        total(&text).filter(|&total| total > 0).ok_or_else(|| format!("callgrind counted nothing of {scenario}"))
    };
    let one = |scenario: &Scenario| {
        let instructions = match scenario.counted {
            Counted::Measured => {
                let toggle = format!("--toggle-collect={PROGRAM}::measured*");
                callgrind(scenario.name, scenario.on, &[&toggle])?
            }
            Counted::WholeLess(other) => {
                let whole = callgrind(scenario.name, scenario.on, &[])?;
                whole.saturating_sub(callgrind(other, scenario.on, &[])?)
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

/// Where cargo put the program: beside this one, which it built as well.
fn program() -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| format!("this program's file is not known: {error}"))?;
    let target = own.parent().and_then(Path::parent).ok_or("this program lies in no target folder")?;
    Ok(target.join("ci/examples").join(PROGRAM).display().to_string())
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
    use super::{HEAD, SCENARIOS, judge, parse, percent, total};

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
    fn callgrind_is_understood() {
        assert_eq!(total("version: 1\nevents: Ir\nsummary: 12\n1 2\ntotals: 12\n"), Some(12));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn every_scenario_is_recorded() {
        let recorded = parse(include_str!("../../crates/log/instructions.txt")).expect("it is well formed");
        assert!(SCENARIOS.iter().all(|scenario| recorded.contains_key(scenario.name)));
        assert_eq!(recorded.len(), SCENARIOS.len());
    }
}
