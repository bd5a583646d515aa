use std::io::{BufRead, BufReader};
use std::path::PathBuf;
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
        Tracer::start(&["-f", "-p", &process.to_string()], injection)
    }

    /// The same for one thread of a process alone, by its name.
    ///
    /// # Panics
    /// If there is no such thread, or it cannot be traced.
    #[must_use]
    pub fn inject_thread(process: u32, name: &str, injection: &str) -> Tracer {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("a process that runs, on Linux");
        let mut threads = threads.map(|thread| thread.expect("it can be read").path());
        let is_named =
            |thread: &PathBuf| std::fs::read_to_string(thread.join("comm")).is_ok_and(|read| read.trim() == name);
        let thread = threads.find(is_named).unwrap_or_else(|| panic!("{process} has no thread {name}"));
        Tracer::start(&["-p", &thread.file_name().expect("its number").to_string_lossy()], injection)
    }

    fn start(whom: &[&str], injection: &str) -> Tracer {
        let calls = injection.split(':').next().unwrap_or_default();
        let mut child = Command::new("strace")
            .args(["-o", "/dev/null"])
            .args(whom)
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

    /// Lets go of a process that has ended, but for what is held of it: strace, which is told to let go, waits for that.
    ///
    /// # Panics
    /// If strace cannot be killed.
    pub fn abandon(mut self) {
        self.child.kill().expect("a running child can be killed");
        self.child.wait().expect("a killed child ends");
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
