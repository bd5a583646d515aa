//! What the disk itself takes: without it, a figure of durable publishing says little.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::BenchError;
use crate::clock;

/// Syncs of one look at the disk.
const SYNCS: usize = 200;

/// Bytes appended before each.
const BLOCK: [u8; 4_096] = [b'x'; 4_096];

/// How long appending 4 KiB and `fdatasync` take in a folder, each time.
pub(crate) fn measure(folder: &Path) -> Result<Vec<Duration>, BenchError> {
    let path = folder.join("fdatasync");
    let measured = append_and_sync(&path).map_err(BenchError::io(format!("append to {} and sync it", path.display())));
    // What was not made cannot be removed.
    let _ = std::fs::remove_file(&path);
    measured
}

fn append_and_sync(path: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = clock::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_gone_afterwards() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(measure(folder.path()).expect("it can be written").len(), SYNCS);
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
        assert!(measure(&folder.path().join("not-there")).is_err());
    }
}
