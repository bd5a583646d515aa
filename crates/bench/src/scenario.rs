//! `tidewire bench run`: a scenario of load on a hub that is started for it.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cpus::Cpus;
use crate::load::{self, Amount, Outcome, Plan};
use crate::progress::Progress;
use crate::report::Report;
use crate::server::ServerCommand;
use crate::{BenchError, Common, describe};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire bench run fan-out
  tidewire bench run idle --connections 5000
  tidewire bench run ./mine.toml --json

Scenarios: idle, fan-out, saturate, many-topics, slow-readers; or a file of the same form. Flags say otherwise than the
scenario does.

Exit codes: 0 everything that was published came to each of its subscribers, once and in order; 1 not, or not measured.";

/// Those that come with the program.
const SCENARIOS: [(&str, &str); 5] = [
    ("idle", include_str!("../scenarios/idle.toml")),
    ("fan-out", include_str!("../scenarios/fan-out.toml")),
    ("saturate", include_str!("../scenarios/saturate.toml")),
    ("many-topics", include_str!("../scenarios/many-topics.toml")),
    ("slow-readers", include_str!("../scenarios/slow-readers.toml")),
];

/// A rate that gives less than this times the best so far has not raised it.
const RISE: f64 = 1.05;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of a scenario, or its file.
    #[arg(value_name = "SCENARIO")]
    scenario: String,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    amount: Amount,
    /// Puts the load on the floor instead: the binary of `peers/floor`, the bare loop of one send for each delivery.
    #[arg(long, value_name = "BINARY", conflicts_with = "hub")]
    floor: Option<PathBuf>,
}

/// A scenario's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it shows, in a line.
    about: String,
    #[serde(default)]
    hub: HubPart,
    #[serde(default)]
    load: Plan,
    /// The load again and again, each time with a higher rate, until deliveries do not rise any more.
    #[serde(default)]
    raise: Option<Raise>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HubPart {
    /// Flags of `serve` beside addresses and folder.
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raise {
    /// Events a second.
    pub(crate) rates: Vec<f64>,
    /// How long each is offered.
    pub(crate) seconds: f64,
}

impl Scenario {
    /// The one of this name, or in this file.
    pub(crate) fn find(name: &str) -> Result<Scenario, BenchError> {
        let own = SCENARIOS.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned());
        let text = match own {
            Some(text) => text,
            None if name.ends_with(".toml") => {
                fs::read_to_string(name).map_err(BenchError::io(format!("read {name}")))?
            }
            None => {
                let names = SCENARIOS.map(|(name, _)| name).join(", ");
                return Err(BenchError::Usage(format!("no scenario is called {name:?}: there are {names}, and files")));
            }
        };
        let scenario: Scenario =
            toml::from_str(&text).map_err(|error| BenchError::Usage(format!("{name}: {}", error.message())))?;
        scenario.load.check()?;
        if scenario.raise.as_ref().is_some_and(|raise| raise.rates.is_empty() || raise.seconds <= 0.0) {
            return Err(BenchError::Usage(format!("{name}: raise takes rates, and seconds above 0")));
        }
        Ok(scenario)
    }
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let scenario = Scenario::find(&args.scenario)?;
    if scenario.raise.is_some() && args.amount.says_events() {
        let what = "this scenario raises the rate by itself: it takes no --rate and no --events";
        return Err(BenchError::Usage(what.to_owned()));
    }
    let plan = args.amount.apply(scenario.load);
    plan.check()?;
    let mut report = Report::new("run");
    let cpus = args.common.cpus();
    report.setting("scenario", args.scenario.as_str());
    report.setting("about", scenario.about);
    describe(&mut report, &args.common, cpus)?;
    plan.describe(&mut report);
    if let Some(raise) = &scenario.raise {
        report.setting("rate", raise.rates.clone());
        report.setting("events", format!("{} s of each rate", raise.seconds));
    }
    if cpus == Cpus::default() {
        report.note("server and generator share their cores");
    }
    cpus.pin_generator().map_err(BenchError::io("keep the generator on its core"))?;
    let folder = args.common.temporary()?;
    let command = match &args.floor {
        Some(binary) => ServerCommand::Floor { binary: binary.clone(), arguments: Vec::new(), cpus },
        None => ServerCommand::hub(&args.common.hub()?, &folder.path().join("data"), &scenario.hub.flags, cpus),
    };
    match scenario.raise {
        None if plan.slow_readers > 0 => beside_none_slow(&command, &plan, &args.scenario, &mut report)?,
        None => once(&command, &plan)?.report(&plan, &args.scenario, &mut report),
        Some(raise) => {
            for (plan, outcome) in raised(&command, &plan, &raise)? {
                outcome.report(&plan, &format!("{} events/s", plan.rate), &mut report);
            }
        }
    }
    Ok(report)
}

/// The same load without those who read slowly, and then with them: what the server has in memory more at its peak.
fn beside_none_slow(
    command: &ServerCommand,
    plan: &Plan,
    scenario: &str,
    report: &mut Report,
) -> Result<(), BenchError> {
    let without = Plan { connections: plan.readers(), slow_readers: 0, slope_from: None, ..plan.clone() };
    let (beside, outcome) = (once(command, &without)?, once(command, plan)?);
    beside.report(&without, &format!("{scenario}, without slow readers"), report);
    outcome.report(plan, scenario, report);
    if let Some((with, without)) = outcome.resident_bytes_max.zip(beside.resident_bytes_max) {
        let more = (with as f64 - without as f64) / f64::from(plan.slow_readers);
        report.value(scenario, "resident a slow reader, at the peak", "B", more);
    }
    Ok(())
}

/// Starts a server, puts the load on it, stops it.
pub(crate) fn once(command: &ServerCommand, plan: &Plan) -> Result<Outcome, BenchError> {
    once_with(command, plan, &[], &[])
}

/// The same, with these headers and tokens of subscribers.
pub(crate) fn once_with(
    command: &ServerCommand,
    plan: &Plan,
    headers: &[String],
    tokens: &[String],
) -> Result<Outcome, BenchError> {
    let server = command.start()?;
    let outcome = load::put(plan, &server.target(headers, tokens)?, &|| server.writes().map(Some))?;
    server.stop()?;
    Ok(outcome)
}

/// The same with higher and higher rates, until deliveries a second do not rise any more: all of them, the last two of which
/// did not help. One alone may be an accident.
pub(crate) fn raised(command: &ServerCommand, plan: &Plan, raise: &Raise) -> Result<Vec<(Plan, Outcome)>, BenchError> {
    let (mut outcomes, mut best, mut in_vain) = (Vec::new(), 0.0f64, 0);
    for &rate in &raise.rates {
        let events = (rate * raise.seconds).max(1.0) as u64;
        let plan = Plan { rate, events, saturate: true, ..plan.clone() };
        let outcome = once(command, &plan)?;
        let reached = outcome.deliveries_per_s();
        Progress::figure(&format!("{rate} events/s"), reached, "deliveries/s");
        outcomes.push((plan, outcome));
        in_vain = if reached < best * RISE { in_vain + 1 } else { 0 };
        if in_vain == 2 {
            break;
        }
        best = best.max(reached);
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_are_well_formed() {
        for (name, _) in SCENARIOS {
            let scenario = Scenario::find(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!scenario.about.is_empty() && scenario.load.connections <= 18_000, "{name}");
        }
    }

    #[test]
    fn what_is_no_scenario_is_told() {
        let error = Scenario::find("fan_out").expect_err("there is none").to_string();
        assert!(error.contains("fan-out"), "{error}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.toml");
        let name = file.to_str().expect("text");
        assert!(Scenario::find(name).is_err());
        for wrong in ["about = 1", "about = ''\n[load]\nconnection = 1", "about = ''\n[raise]\nrates = []\nseconds = 1"]
        {
            fs::write(&file, wrong).expect("it can be written");
            assert!(Scenario::find(name).is_err(), "{wrong}");
        }
        fs::write(&file, "about = 'x'\n[load]\nconnections = 7").expect("it can be written");
        assert_eq!(Scenario::find(name).expect("it is one").load.connections, 7);
    }
}
