//! How often a process sends, as the kernel counts it: what a server says of itself is checked by that.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::wait_until;

/// What sends on a socket.
const EVENTS: [&str; 3] = ["syscalls:sys_enter_sendto", "syscalls:sys_enter_sendmsg", "syscalls:sys_enter_writev"];

/// How long `perf` may take to begin and to end.
const PERF_MAX: Duration = Duration::from_secs(10);

/// `perf stat` on a process.
pub(super) struct SendCounter {
    perf: Child,
}

impl SendCounter {
    /// Begins to count; none where `perf` is not there, or may not.
    pub(super) fn start(process: u32) -> Option<SendCounter> {
        let mut command = Command::new("perf");
        command.args(["stat", "-x", ",", "-e", &EVENTS.join(","), "-p", &process.to_string()]);
        let perf = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let mut counter = SendCounter { perf };
        // It has begun once it holds its counters open, and has ended by then if it may not.
        let id = counter.perf.id();
        let counts = || {
            let files = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
            let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            links.any(|link| link.to_string_lossy().contains("perf_event"))
        };
        (wait_until(PERF_MAX, || counts() || counter.has_ended()) && !counter.has_ended()).then_some(counter)
    }

    /// How many sends there were.
    pub(super) fn stop(mut self) -> Option<u64> {
        kill_process(Pid::from_child(&self.perf), Signal::INT).ok()?;
        if !wait_until(PERF_MAX, || self.has_ended()) {
            return None;
        }
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.perf.stderr.take()?, &mut text).ok()?;
        parse(&text)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.perf.try_wait(), Ok(None))
    }
}

impl Drop for SendCounter {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// The sum of the first column.
fn parse(text: &str) -> Option<u64> {
    let counts = text.lines().filter(|line| line.contains("syscalls:"));
    let counts: Vec<u64> = counts.filter_map(|line| line.split(',').next()?.parse().ok()).collect();
    (counts.len() == EVENTS.len()).then(|| counts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_and_all_there() {
        let text = "12,,syscalls:sys_enter_sendto,1,100.00,,\n0,,syscalls:sys_enter_sendmsg,1,100.00,,\n\
                    3,,syscalls:sys_enter_writev,1,100.00,,\n";
        assert_eq!(parse(text), Some(15));
        assert_eq!(parse("<not counted>,,syscalls:sys_enter_sendto,0,100.00,,\n"), None);
        assert_eq!(parse(""), None);
    }
}
