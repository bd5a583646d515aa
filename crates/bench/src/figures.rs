//! `tidewire bench figures`: what delivering is to reach, by turns with the floor, in one run.

mod rows;
mod sends;
mod servers;
mod targets;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cpus::Cpus;
use crate::progress::Progress;
use crate::report::Report;
use crate::{BenchError, Common, describe, fdatasync};

use rows::Rows;
use servers::Servers;

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire bench figures --floor peers/floor/target/release/floor
  tidewire bench figures --floor FLOOR --only memory --only cpu --pairs 5

`cargo xtask bench` builds both programs and runs this.

Exit codes: 0 measured, whether or not a target was met; 1 not measured, or events were lost, doubled or out of order.";

/// With fewer pairs, the ratio to the floor does not count.
const PAIRS_MIN: u16 = 15;

/// What the targets are for.
const CONNECTIONS: u32 = 10_000;
const IDLE_CONNECTIONS: u32 = 18_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The floor: the binary of `peers/floor`.
    #[arg(long, value_name = "BINARY")]
    floor: PathBuf,
    /// Pairs of hub and floor in which CPU a delivery is compared.
    #[arg(long, value_name = "NUMBER", default_value_t = PAIRS_MIN, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pairs: u16,
    /// How often everything else is measured.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Subscribers.
    #[arg(long, value_name = "NUMBER", default_value_t = CONNECTIONS, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    connections: u32,
    /// Subscribers at the upper end of the slope of memory.
    #[arg(long, value_name = "NUMBER", default_value_t = IDLE_CONNECTIONS, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    idle_connections: u32,
    /// Only this. May be repeated.
    #[arg(long, value_name = "FIGURE")]
    only: Vec<Figure>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// What an idle subscriber weighs.
    Memory,
    /// CPU and sends a delivery, one event at a time.
    Cpu,
    /// Deliveries a second at 400 events a second.
    FanOut,
    /// Deliveries a second at any rate.
    Saturate,
    /// Everyone comes back at once.
    Storm,
    /// One subscriber.
    Latency,
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let mut report = Report::new("figures");
    let cpus = args.common.cpus();
    describe(&mut report, &args.common, cpus)?;
    report.setting("floor", args.floor.display().to_string());
    report.setting("pairs", args.pairs);
    report.setting("rounds", args.rounds);
    report.setting("connections", args.connections);
    report.setting("idle_connections", args.idle_connections);
    if cpus == Cpus::default() {
        report.does_not_count("server and generator share their cores");
    }
    if args.connections != CONNECTIONS || args.idle_connections != IDLE_CONNECTIONS {
        report.does_not_count(format!("the targets are for {CONNECTIONS} and {IDLE_CONNECTIONS} connections"));
    }
    cpus.pin_generator().map_err(BenchError::io("keep the generator on its core"))?;
    let folder = args.common.temporary()?;
    let servers = Servers::prepare(
        &args.common.hub()?,
        &args.floor,
        folder.path(),
        cpus,
        args.connections.max(args.idle_connections),
    )?;
    let wanted = |figure| args.only.is_empty() || args.only.contains(&figure);
    let mut rows = Rows::new(args.connections, args.idle_connections);
    let pairs = if wanted(Figure::Cpu) { args.pairs } else { 0 };
    let all = pairs.max(args.rounds);
    for round in 0..all {
        Progress::line(&format!("round {} of {all}", round + 1));
        if round < pairs {
            rows.cpu(&servers, round, &mut report)?;
        }
        if round >= args.rounds {
            continue;
        }
        if wanted(Figure::Memory) {
            rows.memory(&servers, &mut report)?;
        }
        if wanted(Figure::FanOut) {
            rows.fan_out(&servers, &mut report)?;
        }
        if wanted(Figure::Saturate) {
            rows.saturate(&servers, round, &mut report)?;
        }
        if wanted(Figure::Storm) {
            rows.storm(&servers, round, &mut report)?;
        }
        if wanted(Figure::Latency) {
            let disk = |paced| fdatasync::measure_paced(folder.path(), paced, cpus);
            rows.latency(&servers, round, disk, &mut report)?;
        }
    }
    if wanted(Figure::Cpu) {
        rows.count_sends(&servers, &mut report)?;
    }
    rows.targets(wanted, args.pairs, &mut report);
    Ok(report)
}
