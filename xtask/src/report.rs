//! Runs the parts one after the other and says what came of them.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::counts::Counts;
use crate::install::{self, Refused};
use crate::instructions;
use crate::plan::{Part, Scale, Work};
use crate::process::{Run, Stopwatch};
use crate::tidy;

/// What a part came to.
enum Outcome {
    Passed,
    Failed(String),
    /// What it needs is not there.
    Skipped(String),
}

struct Row {
    name: &'static str,
    outcome: Outcome,
    /// Of tests; all zero for a part that is not made of tests.
    counts: Counts,
    time: Duration,
}

/// Runs every part, whichever fails, then prints the table. The last line is for machines.
pub(crate) fn run(root: &Path, scale: Scale, parts: &[Part]) -> ExitCode {
    let whole = Stopwatch::start();
    let mut rows: Vec<Row> = Vec::new();
    for part in parts {
        println!("\n== {} ==", part.name);
        let failed: Vec<&str> =
            rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).map(|row| row.name).collect();
        let row = run_part(root, part, &failed);
        println!("-- {}: {} in {}", row.name, row.verdict(), in_words(row.time));
        rows.push(row);
    }
    print_table(&rows, whole.elapsed());
    if scale == Scale::Short {
        println!("Left for `cargo xtask test --long`: benchmarks, longer fuzzing, more kills.");
    }
    println!("Left for a network that reaches the advisory database: `cargo deny check advisories`.");
    let sum = rows.iter().fold(Counts::default(), |mut sum, row| {
        sum += row.as_counts();
        sum
    });
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    ExitCode::from(u8::from(sum.failed > 0))
}

fn run_part(root: &Path, part: &Part, failed: &[&str]) -> Row {
    let time = Stopwatch::start();
    let mut counts = Counts::default();
    let outcome = match part.needs.iter().find_map(|need| need.missing(failed)) {
        Some(why) => Outcome::Skipped(why),
        None => work(root, &part.work, &mut counts),
    };
    Row { name: part.name, outcome, counts, time: time.elapsed() }
}

fn work(root: &Path, work: &Work, counts: &mut Counts) -> Outcome {
    let outcome = match work {
        Work::Programs(runs) | Work::Tests(runs) => programs(root, runs, counts),
        Work::CargoCommand(command, runs) => command.install(root).and_then(|()| programs(root, runs, counts)),
        Work::PythonProgram(program, runs) => match program.install(root) {
            Ok(()) => programs(root, runs, counts),
            Err(Refused::NotAllowed(what)) => return Outcome::Skipped(what),
            Err(Refused::Failed(why)) => Err(why),
        },
        Work::Packages => match install::packages(root) {
            Ok(()) => Ok(()),
            Err(Refused::NotAllowed(what)) => return Outcome::Skipped(what),
            Err(Refused::Failed(why)) => Err(why),
        },
        Work::Instructions => instructions::check(root),
        Work::Tidy => {
            let findings = tidy::findings(root);
            findings.iter().for_each(|finding| println!("{finding}"));
            if findings.is_empty() { Ok(()) } else { Err(format!("findings: {}", findings.len())) }
        }
    };
    judge(work, outcome, *counts)
}

fn judge(work: &Work, outcome: Result<(), String>, counts: Counts) -> Outcome {
    match outcome {
        Err(why) => Outcome::Failed(why),
        // The part ran, so what it needs is there: nothing in it has a reason to be left out.
        Ok(()) if counts.skipped > 0 => Outcome::Failed(format!("tests left out without need: {}", counts.skipped)),
        Ok(()) if matches!(work, Work::Tests(_) | Work::PythonProgram(..)) && counts.passed == 0 => {
            Outcome::Failed("no test ran".to_owned())
        }
        Ok(()) => Outcome::Passed,
    }
}

/// Runs all of them, whichever fails.
fn programs(root: &Path, runs: &[Run], counts: &mut Counts) -> Result<(), String> {
    let mut failures = Vec::new();
    for run in runs {
        let (more, outcome) = run.run(root);
        *counts += more;
        failures.extend(outcome.err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "FAILED",
            Outcome::Skipped(_) => "skipped",
        }
    }

    fn reason(&self) -> &str {
        match &self.outcome {
            Outcome::Passed => "",
            Outcome::Failed(why) | Outcome::Skipped(why) => why,
        }
    }

    /// Its tests, or itself where it has none; a part that failed counts at least one failure.
    fn as_counts(&self) -> Counts {
        let mut counts = self.counts;
        match self.outcome {
            Outcome::Passed if counts.total() == 0 => counts.passed = 1,
            Outcome::Failed(_) if counts.failed == 0 => counts.failed = 1,
            Outcome::Skipped(_) => counts.skipped = 1,
            _ => {}
        }
        counts
    }
}

fn print_table(rows: &[Row], whole: Duration) {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    println!("\n{:width$}  {:7}  {:>10}  {:>7}  why", "part", "result", "time", "tests");
    for row in rows {
        let tests = row.counts.passed + row.counts.failed;
        let tests = if row.counts.total() == 0 { String::new() } else { tests.to_string() };
        let line = format!(
            "{:width$}  {:7}  {:>10}  {tests:>7}  {}",
            row.name,
            row.verdict(),
            in_words(row.time),
            row.reason()
        );
        println!("{}", line.trim_end());
    }
    println!("{:width$}  {:7}  {:>10}", "all", "", in_words(whole));
    println!();
}

/// `0.4 s`, `12.0 s`, `3 m 05 s`.
fn in_words(time: Duration) -> String {
    let tenths = time.as_millis().div_ceil(100);
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = time.as_secs();
    format!("{} m {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Row, in_words, judge};
    use crate::counts::Counts;
    use crate::plan::Work;

    fn row(outcome: Outcome, passed: u64, failed: u64) -> Row {
        Row { name: "x", outcome, counts: Counts { passed, failed, skipped: 0 }, time: Duration::ZERO }
    }

    #[test]
    fn times_in_words() {
        assert_eq!(in_words(Duration::from_millis(340)), "0.4 s");
        assert_eq!(in_words(Duration::from_millis(59_900)), "59.9 s");
        assert_eq!(in_words(Duration::from_secs(185)), "3 m 05 s");
    }

    #[test]
    fn a_part_without_tests_counts_as_one() {
        assert_eq!(row(Outcome::Passed, 0, 0).as_counts(), Counts { passed: 1, failed: 0, skipped: 0 });
        assert_eq!(row(Outcome::Skipped(String::new()), 0, 0).as_counts().skipped, 1);
        assert_eq!(row(Outcome::Passed, 7, 0).as_counts().passed, 7);
    }

    #[test]
    fn tests_that_are_left_out_or_not_there_are_a_failure() {
        let is_passed = |work: &Work, passed, skipped| {
            matches!(judge(work, Ok(()), Counts { passed, failed: 0, skipped }), Outcome::Passed)
        };
        let (tests, programs) = (Work::Tests(Vec::new()), Work::Programs(Vec::new()));
        assert!(is_passed(&tests, 1, 0) && is_passed(&programs, 0, 0));
        assert!(!is_passed(&tests, 0, 0), "a part of tests without one");
        assert!(!is_passed(&tests, 1, 1) && !is_passed(&programs, 1, 1), "one left out");
    }

    #[test]
    fn a_failed_part_never_counts_as_none() {
        let counts = row(Outcome::Failed(String::new()), 7, 0).as_counts();
        assert_eq!(counts, Counts { passed: 7, failed: 1, skipped: 0 });
        assert_eq!(row(Outcome::Failed(String::new()), 7, 2).as_counts().failed, 2);
    }
}
