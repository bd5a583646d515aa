use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::hub::lines;

/// Tells a process that was started by one of these which it is.
const VARIABLE: &str = "TEST_ELSEWHERE";
/// How long a process may take for what it was told, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
/// The ends of the cable.
const HERE: (&str, &str) = ("here0", "02:00:00:00:00:01");
const THERE: (&str, &str) = ("there0", "02:00:00:00:00:02");

/// Another machine: a process in a network of its own, with a cable to this process. It can vanish as a machine does
/// whose cable is cut: without a word, and without an answer to whatever is sent to it.
#[derive(Debug)]
pub struct Elsewhere {
    child: Child,
    orders: ChildStdin,
    reports: Receiver<String>,
}

impl Elsewhere {
    /// Where this process is.
    pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    /// Where the other machine is.
    pub const THERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

    /// Runs a test of this program, which calls [`Elsewhere::new`], in a process that has a network of its own; nothing
    /// outside is touched. False where the system does not let it.
    ///
    /// # Panics
    /// If the test fails.
    #[must_use]
    pub fn run(test: &str) -> bool {
        let cable = ["ip", "link", "add", HERE.0, "type", "veth", "peer", "name", THERE.0];
        let can = |flags: &[&str]| {
            let tried = Command::new("unshare").args(flags).args(cable).stderr(Stdio::null()).status();
            tried.is_ok_and(|tried| tried.success())
        };
        let ways: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];
        let Some(flags) = ways.into_iter().find(|flags| can(flags)) else { return false };
        let ended = program(Command::new("unshare").args(flags), test, "here").status();
        assert!(ended.expect("the test program can be run again").success(), "{test} failed in a network of its own");
        true
    }

    /// In the process that [`Elsewhere::run`] has started: another machine, on which a test of this program calls
    /// [`Elsewhere::serve`]. In any other, none.
    ///
    /// # Panics
    /// If the machine cannot be made.
    #[must_use]
    pub fn new(test: &str) -> Option<Elsewhere> {
        std::env::var(VARIABLE).ok().filter(|which| which == "here")?;
        let mut command = Command::new("unshare");
        let mut child = program(command.arg("--net"), test, "there")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test program can be run again");
        let orders = child.stdin.take().expect("it is piped");
        let reports = lines(child.stdout.take().expect("it is piped"));
        let elsewhere = Elsewhere { child, orders, reports };
        elsewhere.wait_for("there");
        ip(&["link", "set", "lo", "up"]);
        let process = elsewhere.child.id().to_string();
        let (cable, plug) = (["link", "add", HERE.0, "address", HERE.1, "type", "veth"], ["peer", "name", THERE.0]);
        ip(&[&cable[..], &plug, &["address", THERE.1, "netns", &process]].concat());
        plug_in(HERE.0, Elsewhere::HERE, Elsewhere::THERE, THERE.1);
        Some(elsewhere)
    }

    /// Has the other machine do something, and waits until it is done.
    ///
    /// # Panics
    /// If it does not.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the other machine runs");
        self.wait_for(order);
    }

    /// The other machine vanishes.
    ///
    /// # Panics
    /// If it cannot.
    pub fn vanish(&mut self) {
        self.order("vanish");
    }

    /// On the other machine: obeys orders until there are no more, and keeps what comes of them. On any other, does
    /// nothing.
    ///
    /// # Panics
    /// If an order fails.
    pub fn serve<T>(mut obey: impl FnMut(&str) -> T) {
        if std::env::var(VARIABLE).is_ok_and(|which| which == "there") {
            println!("\nmachine: there");
            let mut kept = Vec::new();
            for order in std::io::stdin().lock().lines() {
                let order = order.expect("orders are text");
                if order == "vanish" {
                    ip(&["address", "flush", "dev", THERE.0]);
                } else {
                    if kept.is_empty() {
                        plug_in(THERE.0, Elsewhere::THERE, Elsewhere::HERE, HERE.1);
                    }
                    kept.push(obey(&order));
                }
                println!("\nmachine: {order}");
            }
        }
    }

    fn wait_for(&self, report: &str) {
        loop {
            let line = self.reports.recv_timeout(WITHIN).expect("the other machine answers");
            // The test program's own lines come between.
            if line.strip_prefix("machine: ") == Some(report) {
                return;
            }
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Dropped while a test panics: nothing more can be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program, to run one of its tests.
fn program<'a>(before: &'a mut Command, test: &str, which: &str) -> &'a mut Command {
    let program = std::env::current_exe().expect("it runs");
    before.arg(program).args(["--exact", test, "--nocapture"]).env(VARIABLE, which)
}

/// Gives an end of the cable its address, and tells it who is at the other: nobody has to be asked once the other machine
/// has vanished.
fn plug_in(end: &str, address: Ipv4Addr, other: Ipv4Addr, other_end: &str) {
    ip(&["address", "add", &format!("{address}/24"), "dev", end]);
    ip(&["link", "set", end, "up"]);
    ip(&["neighbour", "replace", &other.to_string(), "lladdr", other_end, "nud", "permanent", "dev", end]);
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).status().expect("ip can be run");
    assert!(done.success(), "failed to run ip {arguments:?}");
}
