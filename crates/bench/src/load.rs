//! `tidewire bench load`: open-loop load on any server of `text/event-stream`.

mod alarm;
mod body;
mod events;
mod files;
mod outcome;
mod payload;
mod plan;
mod publishers;
mod run;
mod schedule;
mod socket;
mod stamp;
mod subscribers;
mod tally;
mod target;
mod template;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::BenchError;
use crate::cpus::Cpus;
use crate::process;
use crate::report::Report;

pub(crate) use outcome::{FULL_CORE, Outcome};
pub(crate) use plan::Plan;
pub(crate) use target::{Request, Target};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire serve --dev & tidewire bench load --pid $! --connections 10000 --rate 100 \\
    --subscribe 'http://127.0.0.1:7788/api/v1/events?topic=load-{topic}' \\
    --publish http://127.0.0.1:7788/api/v1/events --publish-header 'Content-Type: application/json' \\
    --publish-body '{\"topic\":\"load-{topic}\",\"data\":\"{payload}\"}'
  tidewire bench load --subscribe 'http://127.0.0.1:8080/sub/{topic}' --publish 'http://127.0.0.1:8080/pub/{topic}'

In URLs, headers and the body, {topic} is the number of a topic, {event} that of an event, {connection} that of a
subscriber, {token} its token, and {payload} the event's data: letters, digits, - and ~, which the server must deliver as they are.

Events are due by a schedule, whatever the server does, and latency is counted from then.

Exit codes: 0 everything that was published came to each of its subscribers, once and in order; 1 not, or not measured.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to subscribe.
    #[arg(long, value_name = "URL")]
    subscribe: String,
    /// A header of each subscription. May be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    subscribe_header: Vec<String>,
    /// A file with a token a line, with which subscribers take turns: {token} in their URL or headers.
    #[arg(long, value_name = "FILE")]
    subscribe_tokens: Option<PathBuf>,
    /// Where to publish.
    #[arg(long, value_name = "URL")]
    publish: String,
    /// How to publish.
    #[arg(long, value_name = "METHOD", default_value = "POST")]
    publish_method: String,
    /// A header of each event published. May be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    publish_header: Vec<String>,
    /// The body of each event published.
    #[arg(long, value_name = "TEMPLATE", default_value = "{payload}")]
    publish_body: String,
    #[command(flatten)]
    amount: Amount,
    /// The server's process, to measure its CPU and memory.
    #[arg(long, value_name = "PROCESS")]
    pid: Option<u32>,
    /// The core of the generator. By default the system chooses.
    #[arg(long, value_name = "CORE")]
    generator_cpu: Option<usize>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What of a plan is said by flags: the rest is as it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Amount {
    /// Subscribers. [default: 1000]
    #[arg(long, value_name = "NUMBER")]
    connections: Option<u32>,
    /// Topics, in which subscribers take turns, and events. [default: 1]
    #[arg(long, value_name = "NUMBER")]
    topics: Option<u32>,
    /// Publishers, which take turns. [default: 8]
    #[arg(long, value_name = "NUMBER")]
    publishers: Option<u32>,
    /// Connections that each publisher may open, so that late answers do not lessen what is offered. [default: 32]
    #[arg(long, value_name = "NUMBER")]
    publisher_connections: Option<u32>,
    /// Events a second, of all publishers together. [default: 100]
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// Events that are measured. [default: 1000]
    #[arg(long, value_name = "NUMBER")]
    events: Option<u64>,
    /// Events before those that are measured. [default: 0]
    #[arg(long, value_name = "NUMBER")]
    warm_up_events: Option<u64>,
    /// The data of an event, in bytes; at least 48. [default: 64]
    #[arg(long, value_name = "BYTES")]
    payload: Option<u32>,
    /// Take memory at so many connections as well, and tell what each further one costs.
    #[arg(long, value_name = "CONNECTIONS")]
    slope_from: Option<u32>,
    /// Subscribers that do not read until all others have everything. [default: 0]
    #[arg(long, value_name = "NUMBER")]
    slow_readers: Option<u32>,
    /// The rate is more than the server takes: an event that waits for a connection is no failure.
    #[arg(long)]
    saturate: bool,
    /// Between the last subscription and the first event. [default: 0.5]
    #[arg(long, value_name = "SECONDS")]
    settle: Option<f64>,
    /// How long nothing may come before what is missing is lost. [default: 10]
    #[arg(long, value_name = "SECONDS")]
    patience: Option<f64>,
    /// Addresses that connections to loopback come from: 127.0.0.1 and those above, one for each 2000 by default.
    #[arg(long, value_name = "NUMBER")]
    source_addresses: Option<u8>,
}

impl Args {
    fn tokens(&self) -> Result<Vec<String>, BenchError> {
        let Some(path) = &self.subscribe_tokens else { return Ok(Vec::new()) };
        let text = std::fs::read_to_string(path).map_err(BenchError::io(format!("read {}", path.display())))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Amount {
    /// Whether flags say how many events there are, and how many a second.
    pub(crate) fn says_events(&self) -> bool {
        self.rate.is_some() || self.events.is_some()
    }

    /// The plan with what the flags say of it.
    pub(crate) fn apply(&self, mut plan: Plan) -> Plan {
        fn set<T: Copy>(place: &mut T, value: Option<T>) {
            *place = value.unwrap_or(*place);
        }
        set(&mut plan.connections, self.connections);
        set(&mut plan.topics, self.topics);
        set(&mut plan.publishers, self.publishers);
        set(&mut plan.publisher_connections, self.publisher_connections);
        set(&mut plan.rate, self.rate);
        set(&mut plan.events, self.events);
        set(&mut plan.warm_up_events, self.warm_up_events);
        set(&mut plan.payload, self.payload);
        plan.slope_from = self.slope_from.or(plan.slope_from);
        set(&mut plan.slow_readers, self.slow_readers);
        plan.saturate |= self.saturate;
        set(&mut plan.settle_s, self.settle);
        set(&mut plan.patience_s, self.patience);
        plan.source_addresses = self.source_addresses.or(plan.source_addresses);
        plan
    }
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let plan = args.amount.apply(Plan::default());
    if let Some(process) = args.pid.filter(|&process| !process::exists(process)) {
        return Err(BenchError::Usage(format!("there is no process {process}")));
    }
    let target = Target {
        subscribe: Request::subscribe(&args.subscribe, &args.subscribe_header)?,
        publish: Request::publish(&args.publish_method, &args.publish, &args.publish_header, &args.publish_body)?,
        tokens: args.tokens()?,
        process: args.pid,
    };
    let mut report = Report::new("load");
    report.setting("subscribe", args.subscribe.as_str());
    report.setting("publish", args.publish.as_str());
    plan.describe(&mut report);
    let cpus = Cpus { server: None, generator: args.generator_cpu };
    cpus.pin_generator().map_err(BenchError::io("keep the generator on its core"))?;
    put(&plan, &target, &|| Ok(None))?.report(&plan, "server", &mut report);
    Ok(report)
}

/// How many writes to subscribers a server counts, if it does.
pub(crate) type CountWrites<'a> = &'a dyn Fn() -> Result<Option<u64>, BenchError>;

/// Puts the load of a plan on a server.
pub(crate) fn put(plan: &Plan, target: &Target, writes: CountWrites<'_>) -> Result<Outcome, BenchError> {
    target.check(plan)?;
    run::run(plan, target, rand::random(), writes)
}

/// Publishes what a plan says, and then lets all its subscribers come at once: how long it takes until everyone has
/// everything.
pub(crate) fn storm(plan: &Plan, target: &Target) -> Result<(Duration, Outcome), BenchError> {
    target.check(plan)?;
    run::storm(plan, target, rand::random())
}
