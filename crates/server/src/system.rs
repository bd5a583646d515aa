//! What the hub asks of the operating system at start.

use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Waiting connections that a listener asks for; a system that allows fewer is worth a warning.
const BACKLOG: u64 = 4_096;

/// What the log keeps on disk, at most, unless it is told: 10 GiB.
const RETENTION_BYTES: u64 = 10 << 30;

/// Open files beside streams, other connections and the log's: the listeners' and the threads'.
const OWN_FILES: u64 = 128;

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

/// How many streams and how many other connections `open_files` allow, where the log may open
/// `log_files` and at most `connections_max` are asked for. The log gets half at most, and other
/// connections a quarter of the rest.
pub(crate) fn share_open_files(open_files: u64, log_files: u64, connections_max: usize) -> (usize, usize) {
    let shared = open_files.saturating_sub(OWN_FILES);
    if log_files > shared / 2 {
        tracing::warn!(log_files, open_files, "the log may need more files than may be open; raise segment_bytes");
    }
    let shared = (shared - log_files.min(shared / 2)).max(2);
    let connections = shared.div_ceil(4).min(connections_max as u64);
    let streams = shared - connections;
    let narrow = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
    (narrow(streams), narrow(connections))
}

/// Warns if the system lets fewer connections wait than the listeners ask for.
pub(crate) fn check_backlog() {
    let Ok(text) = std::fs::read_to_string("/proc/sys/net/core/somaxconn") else { return };
    if let Some(allowed) = text.trim().parse().ok().filter(|&allowed: &u64| allowed < BACKLOG) {
        tracing::warn!(allowed, wanted = BACKLOG, "net.core.somaxconn lets few connections wait to be accepted");
    }
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
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    match rustix::fs::statvfs(there) {
        Ok(system) => of_file_system(system.f_blocks.saturating_mul(system.f_frsize)),
        Err(error) => {
            tracing::warn!(%error, "the size of the file system is not known");
            RETENTION_BYTES
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
    fn streams_get_what_others_leave() {
        assert_eq!(share_open_files(20_000, 162, 1_024), (18_686, 1_024));
        assert_eq!(share_open_files(1_024, 96, 1_024), (600, 200));
        assert_eq!(share_open_files(1_024, 10_000, 1_024), (336, 112));
        assert_eq!(share_open_files(0, 162, 1_024), (1, 1));
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
