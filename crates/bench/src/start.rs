//! `tidewire bench start`: how long the hub takes to be ready on a large log.

use crate::fill::{self, Filled};
use crate::process::{CpuTime, resident_bytes_max};
use crate::progress::Progress;
use crate::report::{Bound, Report};
use crate::{BenchError, Common, describe};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire bench start
  tidewire bench start --events 1000000 --data-dir /var/tmp/large

Measured is the time from starting the process to its first 200 from /health/ready. As root the page cache is dropped
before, so that nothing of the log is in memory.

Exit codes: 0 measured, whether or not the target was met; 1 not measured, or the log does not hold what was published.";

/// What a start may take, in seconds.
const START_S: f64 = 2.0;

/// For a log of so many events.
const EVENTS: u64 = 10_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    log: fill::LogArgs,
    /// How often it is started.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    starts: u16,
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let mut report = Report::new("start");
    describe(&mut report, &args.common, args.common.cpus())?;
    report.setting("starts", args.starts);
    let filled = Filled::prepare(&args.log, &args.common, &mut report)?;
    let (mut seconds, mut cpu_seconds, mut resident_mib) = (Vec::new(), Vec::new(), Vec::new());
    for start in 1..=args.starts {
        filled.cool(&mut report);
        let hub = filled.command().start(None)?;
        seconds.push(hub.started_within().as_secs_f64());
        cpu_seconds.extend(CpuTime::of(hub.process()).map(|cpu| cpu.total().as_secs_f64()));
        resident_mib.extend(resident_bytes_max(hub.process()).map(|bytes| bytes as f64 / f64::from(1 << 20)));
        filled.check(&hub, &mut report)?;
        if start == 1 {
            let bytes = hub.metric("tidewire_log_bytes")?;
            report.value("log", "size", "GiB", bytes / f64::from(1 << 30));
        }
        hub.stop()?;
        Progress::figure(&format!("start {start} of {}", args.starts), seconds[seconds.len() - 1], "s");
    }
    if filled.layout.events < EVENTS {
        report.does_not_count(format!("the target is for {EVENTS} events"));
    }
    let median = report.values("start", "until ready", "s", seconds);
    report.values("start", "CPU until ready", "s", cpu_seconds);
    report.values("start", "most memory resident", "MiB", resident_mib);
    if let Some(median) = median {
        report.target("start, median", median, "s", Bound::Below(START_S));
    }
    Ok(report)
}
