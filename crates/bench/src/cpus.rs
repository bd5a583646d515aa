use std::io;
use std::process::{Child, Command};

/// Which core is whose. None: the system chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpus {
    pub(crate) server: Option<usize>,
    pub(crate) generator: Option<usize>,
}

impl Cpus {
    /// The first two cores that this process may use, or none if there is only one.
    pub(crate) fn two() -> Cpus {
        match system::allowed()[..] {
            [server, generator, ..] => Cpus { server: Some(server), generator: Some(generator) },
            _ => Cpus::default(),
        }
    }

    /// Keeps this thread, which is the generator's, on its core.
    pub(crate) fn pin_generator(self) -> io::Result<()> {
        self.generator.map_or(Ok(()), system::pin)
    }

    /// Starts a program on the server's core. It and all its threads stay there: what is started takes the cores of the
    /// thread that starts it.
    pub(crate) fn spawn_server(self, command: &mut Command) -> io::Result<Child> {
        self.on_servers_core(|| command.spawn())
    }

    /// Does something on the server's core, in a thread of its own.
    pub(crate) fn on_servers_core<T: Send>(self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                self.server.map_or(Ok(()), system::pin)?;
                work()
            });
            done.join().unwrap_or_else(|_| Err(io::Error::other("the thread on the server's core panicked")))
        })
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
        (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
    }

    pub(super) fn pin(cpu: usize) -> io::Result<()> {
        if cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("there is no core {cpu}")));
        }
        let mut set = CpuSet::new();
        set.set(cpu);
        Ok(sched_setaffinity(None, &set)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub(super) fn pin(_cpu: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_server_stays_on_its_core() {
        let core = system::allowed()[0];
        let cpus = Cpus { server: Some(core), generator: None };
        let mut command = Command::new("sh");
        command.args(["-c", "grep Cpus_allowed_list /proc/self/status"]).stdout(Stdio::piped());
        let output = cpus.spawn_server(&mut command).and_then(Child::wait_with_output).expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(text.split_whitespace().nth(1), Some(core.to_string().as_str()));
        assert_eq!(system::allowed().len(), std::thread::available_parallelism().map_or(1, usize::from));
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        let cpus = Cpus { server: Some(usize::MAX), generator: Some(usize::MAX) };
        assert!(cpus.pin_generator().is_err());
        assert!(cpus.spawn_server(&mut Command::new("true")).is_err());
    }
}
