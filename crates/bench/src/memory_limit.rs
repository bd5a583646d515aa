use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clock::wait_until;

/// Where the memory controller of cgroup v1 is mounted.
const CONTROLLER: &str = "/sys/fs/cgroup/memory";

/// How long a group may take to be empty once its processes have ended.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// A limit on what a process and the page cache that it fills may take together: a cgroup of version 1, which is removed
/// when this is dropped.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    group: PathBuf,
}

impl MemoryLimit {
    /// Makes the group. The error says why it cannot be had here.
    pub(crate) fn new(bytes: u64) -> io::Result<MemoryLimit> {
        MemoryLimit::under(Path::new(CONTROLLER), bytes)
    }

    fn under(controller: &Path, bytes: u64) -> io::Result<MemoryLimit> {
        if !controller.join("memory.limit_in_bytes").exists() {
            let what = format!("the memory controller of cgroup v1 is not mounted at {}", controller.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, what));
        }
        let group = controller.join(format!("tidewire-bench-{}", std::process::id()));
        fs::create_dir(&group)?;
        // Made before it is filled in, so that it is removed if that fails.
        let limit = MemoryLimit { group };
        fs::write(limit.group.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(limit)
    }

    /// Runs a program in the group from its first instruction on.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.group.join("cgroup.procs")).arg(program);
        command
    }

    /// The most that the group has taken, in bytes.
    pub(crate) fn bytes_max(&self) -> Option<u64> {
        fs::read_to_string(self.group.join("memory.max_usage_in_bytes")).ok()?.trim().parse().ok()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        wait_until(EMPTY_WITHIN, || fs::remove_dir(&self.group).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_controller_the_reason_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = MemoryLimit::under(folder.path(), 1 << 20).expect_err("it is no controller");
        assert!(error.to_string().contains("not mounted"), "{error}");
    }

    #[test]
    fn a_program_is_in_the_group_when_it_begins() {
        let folder = tempfile::tempdir().expect("a folder");
        let limit = MemoryLimit { group: folder.path().join("a group") };
        fs::create_dir(&limit.group).expect("a folder");
        let output = limit.command(Path::new("sh")).args(["-c", "echo $$ $0", "x y"]).output().expect("it runs");
        let joined = fs::read_to_string(limit.group.join("cgroup.procs")).expect("it was written");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{} x y\n", joined.trim()));
        fs::remove_file(limit.group.join("cgroup.procs")).expect("it is there");
        let group = limit.group.clone();
        drop(limit);
        assert!(!group.exists());
    }
}
