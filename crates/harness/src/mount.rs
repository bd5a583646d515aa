use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What fills a disk is written in pieces of this many bytes, the last ones byte by byte.
const PIECE: usize = 64 * 1024;

/// A file system of its own, in memory and of a given size. It takes root to mount one.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

/// A file that takes what room there is on a disk, until it is dropped.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

/// A folder in which nothing can be made, renamed or removed, or opened for writing, until this is dropped. What is
/// open can still be written: the folder is mounted over itself, read-only. It takes root.
#[derive(Debug)]
pub struct ReadOnly {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many bytes.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    pub fn new(bytes: u64) -> SmallDisk {
        let folder = tempfile::tempdir().expect("a directory can be made");
        mount(&["-t", "tmpfs", "-o", &format!("size={bytes}"), "tidewire-test"], folder.path());
        SmallDisk { folder }
    }

    /// Its root.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    /// If the disk does not get full.
    #[must_use]
    pub fn fill(&self) -> Ballast {
        let ballast = Ballast { path: self.path().join("ballast") };
        let mut file = File::create(&ballast.path).expect("a file can be made");
        let mut piece = PIECE;
        while piece > 0 {
            match file.write(&vec![0; piece]) {
                Ok(written) => assert!(written > 0, "a disk that is full says so"),
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 2,
                Err(error) => panic!("the disk does not get full: {error}"),
            }
        }
        ballast
    }
}

impl ReadOnly {
    /// Makes a folder read-only.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    pub fn new(folder: &Path) -> ReadOnly {
        // It is made elsewhere first: what is opened for writing in between would keep it writable.
        let elsewhere = tempfile::tempdir().expect("a directory can be made");
        mount(&["--bind", &folder.display().to_string()], elsewhere.path());
        let _until_then = ReadOnly { folder: elsewhere.path().to_owned() };
        mount(&["-o", "remount,bind,ro"], elsewhere.path());
        mount(&["--bind", &elsewhere.path().display().to_string()], folder);
        ReadOnly { folder: folder.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // It is gone when the disk is.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

fn mount(arguments: &[&str], folder: &Path) {
    let status = Command::new("mount").args(arguments).arg(folder).status().expect("mount can be run");
    assert!(status.success(), "mount {arguments:?} failed: it takes root, and the right to mount");
}

/// Also while somebody has files open there: then they are the last who see it.
fn unmount(folder: &Path) {
    let status = Command::new("umount").arg("--lazy").arg(folder).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("{} is still mounted", folder.display());
    }
}
