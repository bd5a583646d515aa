//! What the disk itself takes: without it, a figure of durable publishing says little.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Duration;

use crate::BenchError;
use crate::clock::{now, sleep_until};
use crate::cpus::Cpus;

/// Syncs of one look at the disk.
const SYNCS: u32 = 200;

/// Bytes written before each.
const BLOCK: [u8; 4_096] = [b'x'; 4_096];

/// Syncs at a pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) syncs: u32,
    /// From one to the next.
    pub(crate) every: Duration,
}

/// How long appending 4 KiB and `fdatasync` take in a folder, each time.
pub(crate) fn measure(folder: &Path) -> Result<Vec<Duration>, BenchError> {
    in_file(folder, |file| write_and_sync(file, Paced { syncs: SYNCS, every: Duration::ZERO }))
}

/// How long writing 4 KiB and `fdatasync` take where the hub does it: on its core, and over zeros that are on disk already,
/// as in its log, so that a sync has no new length of the file to write.
pub(crate) fn measure_paced(folder: &Path, paced: Paced, cpus: Cpus) -> Result<Vec<Duration>, BenchError> {
    in_file(folder, |file| {
        for _ in 0..paced.syncs {
            file.write_all(&[0; BLOCK.len()])?;
        }
        file.sync_all()?;
        file.rewind()?;
        cpus.on_servers_core(|| write_and_sync(file, paced))
    })
}

/// Measures in a file that is removed in the end.
fn in_file(
    folder: &Path,
    measure: impl FnOnce(&mut File) -> io::Result<Vec<Duration>>,
) -> Result<Vec<Duration>, BenchError> {
    let path = folder.join("fdatasync");
    let measured = File::create(&path).and_then(|mut file| measure(&mut file));
    // What was not made cannot be removed.
    let _ = std::fs::remove_file(&path);
    measured.map_err(BenchError::io(format!("write to {} and sync it", path.display())))
}

fn write_and_sync(file: &mut File, paced: Paced) -> io::Result<Vec<Duration>> {
    let began = now();
    let sync = |number| {
        sleep_until(began + paced.every * number);
        let began = now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        Ok(began.elapsed())
    };
    (0..paced.syncs).map(sync).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_gone_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(measure(folder.path()).expect("it can be written").len(), SYNCS as usize);
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
        assert!(measure(&folder.path().join("not-there")).is_err());
    }

    #[test]
    fn syncs_keep_their_pace() {
        let folder = tempfile::tempdir().expect("a folder");
        let (began, paced) = (now(), Paced { syncs: 11, every: Duration::from_millis(5) });
        let measured = measure_paced(folder.path(), paced, Cpus::default()).expect("it can be written");
        assert_eq!(measured.len(), 11);
        assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    }
}
