//! `tidewire bench`: measures a hub from outside, as a process of its own, over HTTP.
//!
//! Of the log: durable publishing beside the same hub in memory and beside Redis, how long a start takes, and how long
//! resuming an old place takes. Of delivering: open-loop load on any server of event streams, and scenarios of it. Each
//! checks what it measures: an event that is lost, doubled or out of order is a problem, and with a problem the figures
//! count for nothing.
//!
//! The generator shares the machine with what it measures, so it is one thread that waits for all its connections at once,
//! writes requests made beforehand and reads no more of an answer than it must.

mod clock;
mod closed_loop;
mod cpus;
mod error;
mod fdatasync;
mod figures;
mod fill;
mod http;
mod hub;
mod layout;
mod load;
mod mark;
mod memory_limit;
mod number;
mod process;
mod progress;
mod publish;
mod redis;
mod report;
mod resp;
mod resume;
mod scenario;
mod server;
mod start;
mod stats;
mod stream;

use std::io::Write;
use std::path::PathBuf;

pub use error::BenchError;

use cpus::Cpus;
use report::Report;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Debug, clap::Subcommand)]
enum Figure {
    /// Single events from many publishers at a time: events a second, latency, the hub's CPU.
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::Args),
    /// Open-loop load on any server of event streams: deliveries a second, latency, CPU, memory.
    #[command(after_help = load::EXAMPLES)]
    Load(load::Args),
    /// What delivering is to reach: memory, CPU, deliveries a second, a storm, latency; by turns with the floor.
    #[command(after_help = figures::EXAMPLES)]
    Figures(figures::Args),
    /// A scenario of load on a hub that is started for it.
    #[command(after_help = scenario::EXAMPLES)]
    Run(scenario::Args),
    /// From starting the hub on a large log to its first answer that it is ready.
    #[command(after_help = start::EXAMPLES)]
    Start(start::Args),
    /// From asking for what came after an old event to the first event that matches.
    #[command(after_help = resume::EXAMPLES)]
    Resume(resume::Args),
}

/// What every figure is told.
#[derive(Debug, clap::Args)]
struct Common {
    /// The hub to measure: its binary. This one by default.
    #[arg(long, value_name = "BINARY")]
    hub: Option<PathBuf>,
    /// Where temporary folders are made; choose the disk to measure. The system's place for them by default.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The core of the server. By default it and the generator have one of their own each, where there are two.
    #[arg(long, value_name = "CORE", requires = "generator_cpu")]
    server_cpu: Option<usize>,
    /// The core of the generator.
    #[arg(long, value_name = "CORE", requires = "server_cpu")]
    generator_cpu: Option<usize>,
    /// Let the system choose cores.
    #[arg(long, conflicts_with_all = ["server_cpu", "generator_cpu"])]
    no_pin: bool,
}

impl Common {
    fn hub(&self) -> Result<PathBuf, BenchError> {
        match &self.hub {
            Some(path) => Ok(path.clone()),
            None => std::env::current_exe().map_err(BenchError::io("find this program's own file")),
        }
    }

    fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// A folder that is removed in the end.
    fn temporary(&self) -> Result<tempfile::TempDir, BenchError> {
        let folder = tempfile::Builder::new().prefix("tidewire-bench-").tempdir_in(self.folder());
        folder.map_err(BenchError::io(format!("make a folder in {}", self.folder().display())))
    }

    fn cpus(&self) -> Cpus {
        match (self.server_cpu, self.generator_cpu) {
            _ if self.no_pin => Cpus::default(),
            (Some(server), Some(generator)) => Cpus { server: Some(server), generator: Some(generator) },
            _ => Cpus::two(),
        }
    }
}

/// Measures, and prints the report to `output`. Whether the result is honest: whether everything that was published was
/// there, once and in order, and everything asked was answered.
///
/// # Errors
/// When it cannot be measured: a program does not start, a folder cannot be written.
pub fn run(args: &Args, output: &mut impl Write) -> Result<bool, BenchError> {
    let (report, json) = match &args.figure {
        Figure::Publish(args) => (publish::run(args)?, args.common.json),
        Figure::Load(args) => (load::run(args)?, args.json),
        Figure::Figures(args) => (figures::run(args)?, args.common.json),
        Figure::Run(args) => (scenario::run(args)?, args.common.json),
        Figure::Start(args) => (start::run(args)?, args.common.json),
        Figure::Resume(args) => (resume::run(args)?, args.common.json),
    };
    let text = if json { report.to_json() } else { report.to_table() };
    writeln!(output, "{}", text.trim_end()).map_err(BenchError::io("print the report"))?;
    Ok(report.is_honest())
}

/// What every report says of the machine and the binary.
fn describe(report: &mut Report, common: &Common, cpus: Cpus) -> Result<(), BenchError> {
    report.setting("hub", common.hub()?.display().to_string());
    // That of the generator, whatever hub it measures.
    if cfg!(debug_assertions) {
        report.does_not_count("this is a build for debugging");
    }
    if cpus.server.is_some() && cpus.server == cpus.generator {
        report.does_not_count("server and generator have the same core");
    }
    report.setting("cores", std::thread::available_parallelism().map_or(1, usize::from));
    if let Some(model) = process::cpu_model() {
        report.setting("cpu", model);
    }
    if let Some((server, generator)) = cpus.server.zip(cpus.generator) {
        report.setting("server_cpu", server);
        report.setting("generator_cpu", generator);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(server_cpu: usize, generator_cpu: usize) -> String {
        let common = Common {
            hub: Some(PathBuf::from("another build")),
            folder: None,
            json: false,
            server_cpu: Some(server_cpu),
            generator_cpu: Some(generator_cpu),
            no_pin: false,
        };
        let mut report = Report::new("x");
        describe(&mut report, &common, common.cpus()).expect("the hub is named");
        report.to_table()
    }

    #[test]
    fn one_core_for_both_does_not_count() {
        let same = "note: server and generator have the same core\n";
        assert!(described(0, 0).contains(same));
        assert!(!described(0, 1).contains(same));
    }

    #[test]
    fn a_generator_for_debugging_does_not_count_with_any_hub() {
        let told = described(0, 1).contains("note: this is a build for debugging\n");
        assert_eq!(told, cfg!(debug_assertions));
    }
}
