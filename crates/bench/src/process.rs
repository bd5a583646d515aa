//! What the system says of a process that is measured.

use std::fs;
use std::ops::Sub;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Whether there is such a process, whoever's it is.
pub(crate) fn exists(process: u32) -> bool {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| !matches!(test_kill_process(id), Err(Errno::SRCH)))
}

/// The CPU that a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    /// That of a process and all its threads so far; none where the system does not tell.
    pub(crate) fn of(process: u32) -> Option<CpuTime> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        parse_stat(&stat, rustix::param::clock_ticks_per_second())
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

impl Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user: self.user.saturating_sub(earlier.user), system: self.system.saturating_sub(earlier.system) }
    }
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Of that, what is not backed by a file.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// That of a process now; none where the system does not tell. `smaps_rollup` counts pages, `status` is up to date to
    /// some dozen pages a core.
    pub(crate) fn of(process: u32) -> Option<Memory> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
        let of = |text: &str, resident, anonymous| {
            Some(Memory { resident: kib_line(text, resident)?, anonymous: kib_line(text, anonymous)? })
        };
        let exact = read("smaps_rollup").and_then(|text| of(&text, "Rss:", "Anonymous:"));
        exact.or_else(|| of(&read("status")?, "VmRSS:", "RssAnon:"))
    }
}

/// A line such as `Rss:  4040 kB`, in bytes.
fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// The most memory that a process has had resident, in bytes; none where the system does not tell.
pub(crate) fn resident_bytes_max(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    kib_line(&status, "VmHWM:")
}

/// The processor's name.
pub(crate) fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Writes what is dirty and lets go of what the page cache holds. Whether the system allowed it.
pub(crate) fn drop_page_cache() -> bool {
    let synced = std::process::Command::new("sync").status().is_ok_and(|status| status.success());
    synced && fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}

/// The 14th and 15th field. The second one, the program's name in parentheses, may hold anything.
fn parse_stat(stat: &str, ticks_per_second: u64) -> Option<CpuTime> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64))
    };
    Some(CpuTime { user: time()?, system: time()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 2 3 4 -1 5 6 7 8 9 150 25 0 0 20 0 4 0 12345 1 2";
        let time = parse_stat(stat, 100).expect("it is well formed");
        assert_eq!((time.user, time.system), (Duration::from_millis(1_500), Duration::from_millis(250)));
        assert_eq!(parse_stat("7 (a) S 1 2 3", 100), None);
        assert_eq!(parse_stat("", 100), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_of_this_process() {
        assert!(CpuTime::of(std::process::id()).is_some());
        assert!(resident_bytes_max(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(CpuTime::of(u32::MAX), None);
        let memory = Memory::of(std::process::id()).expect("it has memory");
        assert!(memory.resident > memory.anonymous && memory.anonymous > 10_000, "{memory:?}");
        assert_eq!(Memory::of(u32::MAX), None);
    }
}
