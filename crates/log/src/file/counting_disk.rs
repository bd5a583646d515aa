use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::disk::{Disk, DiskFile, Holder};
use super::sim_disk::{SimDisk, SimFile, SimLock};
use crate::testing::DEADLINE;

/// A disk that counts what is read, and the files that are open. It can let those wait who read, and a
/// seeker panic.
#[derive(Clone, Debug)]
pub(crate) struct CountingDisk {
    disk: SimDisk,
    read: Arc<Reads>,
    open: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Reads {
    read: Mutex<Read>,
    /// Whether those who read wait.
    is_shut: Mutex<bool>,
    is_opened: Condvar,
    /// Whether the next seeker to read panics.
    seeker_panics: AtomicBool,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

/// A file of a [`CountingDisk`].
#[derive(Debug)]
pub(crate) struct CountingFile {
    file: SimFile,
    read: Arc<Reads>,
    open: Arc<AtomicU64>,
}

impl Drop for CountingFile {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CountingDisk {
    pub(crate) fn new(disk: SimDisk) -> CountingDisk {
        CountingDisk { disk, read: Arc::default(), open: Arc::default() }
    }

    /// How many files are open.
    pub(crate) fn open_files(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// What was read since this was asked last.
    pub(crate) fn take_read(&self) -> Read {
        std::mem::take(&mut *self.read.read.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whoever reads from now on waits, until it is opened, or with an error until the test has failed.
    pub(crate) fn shut(&self, is_shut: bool) {
        *self.read.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = is_shut;
        self.read.is_opened.notify_all();
    }

    /// The next thread to read of those that look up arrays panics, once.
    pub(crate) fn let_seeker_panic(&self) {
        self.read.seeker_panics.store(true, Ordering::Relaxed);
    }

    fn counted(&self, file: SimFile) -> CountingFile {
        self.open.fetch_add(1, Ordering::Relaxed);
        CountingFile { file, read: Arc::clone(&self.read), open: Arc::clone(&self.open) }
    }
}

impl Disk for CountingDisk {
    type File = CountingFile;
    type Lock = SimLock;

    fn lock(&self) -> io::Result<Option<SimLock>> {
        self.disk.lock()
    }

    fn holder(&self) -> io::Result<Holder> {
        self.disk.holder()
    }

    fn open_to_read(&self, name: &str) -> io::Result<CountingFile> {
        self.disk.open_to_read(name).map(|file| self.counted(file))
    }

    fn open(&self, name: &str) -> io::Result<CountingFile> {
        self.disk.open(name).map(|file| self.counted(file))
    }

    fn create(&self, name: &str) -> io::Result<CountingFile> {
        self.disk.create(name).map(|file| self.counted(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        {
            let mut read = self.read.read.lock().unwrap_or_else(PoisonError::into_inner);
            read.calls += 1;
            read.bytes += buffer.len() as u64;
        }
        if thread::current().name() == Some("log-seeker") {
            let panics = self.read.seeker_panics.swap(false, Ordering::Relaxed);
            assert!(!panics, "a disk that panics, as it should in this test");
        }
        let is_shut = self.read.is_shut.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.read.is_opened.wait_timeout_while(is_shut, DEADLINE, |is_shut| *is_shut);
        let (mut is_shut, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            // The test has failed. Nobody is to wait as long again.
            *is_shut = false;
            return Err(io::ErrorKind::TimedOut.into());
        }
        drop(is_shut);
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}
