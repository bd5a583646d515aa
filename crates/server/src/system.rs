//! What the hub asks of the operating system at start.

use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Waiting connections that a listener asks for; a system that allows fewer is worth a warning.
const BACKLOG: u64 = 4_096;

/// What the log keeps on disk, at most, unless it is told: 10 GiB.
const RETENTION_BYTES: u64 = 10 << 30;

/// Open files beside connections and the log's: connections to the admin listener, and what the process and its
/// libraries have open.
const OWN_FILES: u64 = 128;

/// Open files of a shard beside its listeners: its poll and its waker.
const SHARD_FILES: u64 = 2;

/// Threads that serve streams, at most.
pub(crate) const SHARDS_MAX: usize = 1_024;

/// Connections that are nothing yet, at most, beside as many streams as there may be: new ones, and those that are
/// refused.
const ARRIVALS_MAX: u64 = 256;

/// Handshakes of TLS at a time, at most.
pub(crate) const HANDSHAKES_MAX: usize = 1_024;

/// Raises the soft limit of open files to the hard one, and says how many there may be.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.current = limit.maximum,
            Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// What connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Streams.
    pub(crate) streams: usize,
    /// Streams, and connections that are nothing yet.
    pub(crate) sockets: usize,
    /// Other connections.
    pub(crate) connections: usize,
}

/// The cores that this process may run on, at most as many as there may be shards.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(SHARDS_MAX))
}

/// What is asked for, of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) shards: usize,
    /// Where each of them listens.
    pub(crate) places: usize,
    /// As many as there can be, if this is none.
    pub(crate) streams: Option<usize>,
    pub(crate) connections: usize,
}

/// Shares `open_files` between the log, which may open `log_files`, and connections. The log gets half at most. Of
/// the rest, other connections get a quarter, or less where so many streams are asked for, but some in any case; and a
/// sixteenth, or whatever is left, is for those that are nothing yet.
pub(crate) fn share_open_files(open_files: u64, log_files: u64, wanted: Wanted) -> Shares {
    let own = OWN_FILES + (SHARD_FILES + wanted.places as u64).saturating_mul(wanted.shards as u64);
    let shared = open_files.saturating_sub(own);
    if log_files > shared / 2 {
        tracing::warn!(log_files, open_files, "the log may need more files than may be open; raise segment_bytes");
    }
    let shared = (shared - log_files.min(shared / 2)).max(3);
    let arrivals = shared.div_ceil(16).min(ARRIVALS_MAX);
    let others = shared.div_ceil(4).min(wanted.connections as u64);
    let others_min = shared.div_ceil(64).min(others);
    let streams = match wanted.streams.map(|streams| streams as u64) {
        Some(asked) => asked.min(shared - arrivals - others_min),
        None => shared - arrivals - others,
    };
    let connections = others.min(shared - arrivals - streams);
    let narrow = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
    // What is left over is for those that are nothing yet: the more there may be, the less they are in each other's way.
    Shares { streams: narrow(streams), sockets: narrow(shared - connections), connections: narrow(connections) }
}

/// How many handshakes of TLS may go on at a time: they have open files of their own, so that they wait for nobody but
/// each other.
pub(crate) fn handshakes(open_files: u64) -> usize {
    usize::try_from(open_files / 32).unwrap_or(usize::MAX).clamp(1, HANDSHAKES_MAX)
}

/// Warns if the system lets fewer connections wait than the listeners ask for.
pub(crate) fn check_backlog() {
    let Ok(text) = std::fs::read_to_string("/proc/sys/net/core/somaxconn") else { return };
    if let Some(allowed) = few_may_wait(&text) {
        tracing::warn!(allowed, wanted = BACKLOG, "net.core.somaxconn lets few connections wait to be accepted");
    }
}

/// How many connections may wait, if that is fewer than the listeners ask for.
fn few_may_wait(somaxconn: &str) -> Option<u64> {
    somaxconn.trim().parse().ok().filter(|&allowed| allowed < BACKLOG)
}

/// What the kernel calls its present start; zeros where it says nothing.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_uuid(text.trim()).unwrap_or_default()
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(number.to_be_bytes())
}

/// What the log keeps in this folder unless it is told: 10 GiB, or 80 % of the file system if
/// that is less. The folder need not be there yet.
pub(crate) fn retention_bytes(folder: &Path) -> u64 {
    file_system(folder).map_or(RETENTION_BYTES, |(size, _)| of_file_system(size))
}

/// How many bytes the file system has that this folder is on or will be, and how many of them are to be had.
pub(crate) fn file_system(folder: &Path) -> Option<(u64, u64)> {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    match rustix::fs::statvfs(there) {
        Ok(system) => {
            let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
            Some((bytes(system.f_blocks), bytes(system.f_bavail)))
        }
        Err(error) => {
            tracing::warn!(%error, "the size of the file system is not known");
            None
        }
    }
}

/// What of a file system of so many bytes the log takes unless it is told.
fn of_file_system(bytes: u64) -> u64 {
    RETENTION_BYTES.min(bytes / 5 * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_get_what_others_leave_or_what_is_asked() {
        let share = |open_files, log_files, streams| {
            let wanted = Wanted { shards: 1, places: 1, streams, connections: 1_024 };
            let Shares { streams, sockets, connections } = share_open_files(open_files, log_files, wanted);
            (streams, sockets, connections)
        };
        assert_eq!(share(20_000, 162, None), (18_427, 18_683, 1_024));
        assert_eq!(share(1_024, 96, None), (547, 597, 200));
        assert_eq!(share(1_024, 10_000, None), (307, 335, 112));
        assert_eq!(share(0, 162, None), (1, 2, 1));
        assert_eq!(share(20_000, 162, Some(10)), (10, 18_683, 1_024));
        assert_eq!(share(20_000, 162, Some(19_000)), (19_000, 19_256, 451));
        assert_eq!(share(20_000, 162, Some(20_000)), (19_143, 19_399, 308));
    }

    #[test]
    fn whatever_is_asked_fits_into_the_open_files() {
        for open_files in (300..3_000).step_by(7).chain([u64::MAX]) {
            for streams in [None, Some(0), Some(1), Some(500), Some(usize::MAX)] {
                for connections in [1, 64, 1_024, usize::MAX] {
                    let wanted = Wanted { shards: 3, places: 1, streams, connections };
                    let Shares { streams, sockets, connections } = share_open_files(open_files, 96, wanted);
                    let own = OWN_FILES + 3 * (SHARD_FILES + 1);
                    let rest = open_files - own;
                    let log = 96.min(rest / 2);
                    assert!(sockets as u64 + connections as u64 <= rest - log, "{open_files} {wanted:?}");
                    assert!(streams < sockets && connections > 0, "{open_files} {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn a_system_that_lets_few_wait_is_warned_of() {
        assert_eq!(few_may_wait("128\n"), Some(128));
        assert_eq!(few_may_wait("4095\n"), Some(4_095));
        for text in ["4096\n", "65535", "", "many"] {
            assert_eq!(few_may_wait(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_kernels_start_has_an_id_that_stays() {
        let id = parse_uuid("01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(id, Some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]));
        for text in ["", "01020304", "01020304-0506-0708-090a-0b0c0d0e0fxx", "00-01020304-0506-0708-090a-0b0c0d0e0f10"]
        {
            assert_eq!(parse_uuid(text), None, "{text:?}");
        }
        assert_eq!(boot_id(), boot_id());
        #[cfg(target_os = "linux")]
        assert_ne!(boot_id(), [0; 16]);
    }

    #[test]
    fn the_log_takes_four_fifths_of_a_small_file_system_and_10_gib_of_a_large_one() {
        assert_eq!(of_file_system(100), 80);
        let gib = 1 << 30;
        assert_eq!((of_file_system(12 * gib), of_file_system(u64::MAX)), (12 * gib / 5 * 4, 10 * gib));
        assert_eq!((of_file_system(13 * gib), of_file_system(0)), (10 * gib, 0));
    }

    #[test]
    fn a_file_system_has_a_size() {
        let bytes = retention_bytes(Path::new("/"));
        assert!(bytes > 0 && bytes <= RETENTION_BYTES);
        assert_eq!(retention_bytes(Path::new("/not-there/yet")), bytes);
    }
}
