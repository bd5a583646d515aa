use std::fs;
use std::time::Duration;

/// What a process has cost so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Time on processors, to a hundredth of a second.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Resident memory at its peak, in bytes.
    pub peak: u64,
}

impl Cost {
    /// What the process with this number has cost.
    ///
    /// # Panics
    /// If it does not run, or this is not Linux.
    #[must_use]
    pub fn of(process: u32) -> Cost {
        let file = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).expect("a process on Linux");
        let (stat, status) = (file("stat"), file("status"));
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        // User and system time, in the hundredths of a second of `USER_HZ`, which is 100 everywhere.
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number of ticks"));
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a figure of memory");
            line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
        };
        let cpu = Duration::from_millis(ticks.sum::<u64>() * 10);
        Cost { cpu, resident: kib("VmRSS:") * 1_024, peak: kib("VmHWM:") * 1_024 }
    }

    /// From now on the peak is that of what comes.
    ///
    /// # Panics
    /// If the process does not run, or is not this user's.
    pub fn reset_peak(process: u32) {
        fs::write(format!("/proc/{process}/clear_refs"), "5").expect("a process of this user, on Linux");
    }
}
