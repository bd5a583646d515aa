use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::hub::signal;
use crate::wait_until;

/// How long it may take to let go of a process.
const WITHIN: Duration = Duration::from_secs(60);

/// `strace` on a process that runs: system calls of it fail, until this is dropped. It takes the right to trace.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
}

impl Tracer {
    /// Makes system calls of a process fail as `injection` says, in strace's words: `fdatasync:error=EIO:when=3` is the
    /// third from now on, counted for each thread. It has begun when this returns.
    ///
    /// # Panics
    /// If the process cannot be traced.
    #[must_use]
    pub fn inject(process: u32, injection: &str) -> Tracer {
        let calls = injection.split(':').next().unwrap_or_default();
        let mut child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &process.to_string()])
            .args(["-e", &format!("trace={calls}"), "-e", &format!("inject={injection}")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace can be run");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let mut said = String::new();
        let is_attached = lines.by_ref().any(|line| {
            said.push_str(&line);
            line.contains("attached")
        });
        // It tells of each thread that comes and goes.
        std::thread::spawn(move || lines.for_each(drop));
        let tracer = Tracer { child };
        assert!(is_attached, "strace did not attach: {said}");
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        signal("TERM", self.child.id());
        wait_until("strace lets go", WITHIN, || !matches!(self.child.try_wait(), Ok(None)));
    }
}
