use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file whose lock says that a process uses the folder.
const LOCK: &str = "lock";
/// More of what the lock's holder has noted is not read.
const NOTE_BYTES_MAX: u64 = 4096;
/// How often the lock is tried for: whoever asks for its holder has it for a moment.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A folder on a disk: all that the file log asks of one. What was not synced may be lost at a
/// crash, wholly or in part; a created, renamed or removed name is synced by [`Disk::sync_names`].
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held as long as the folder is used.
    type Lock: DiskLock;

    /// Takes the folder's lock; `None` if another holds it.
    ///
    /// # Errors
    /// When the disk fails.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;
    /// Who has the lock, without taking it.
    ///
    /// # Errors
    /// When the disk fails.
    fn holder(&self) -> io::Result<Holder>;
    /// Opens a file that is there, to read it only.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    fn open_to_read(&self, name: &str) -> io::Result<Self::File>;
    /// Opens a file that is there.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Makes an empty file, in place of one that is there.
    ///
    /// # Errors
    /// When the disk fails.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// The names in the folder, in no order.
    ///
    /// # Errors
    /// When the disk fails.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    /// When the disk fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name. Who has the file open can go on reading.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// When the disk fails; then it is not known which of them are durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// A lock that is held.
pub trait DiskLock: Send + Sync + 'static {
    /// Notes something for others to read while the lock is held, in place of what was noted before, which
    /// is not longer. It is never synced: with the process, it has no meaning any more.
    ///
    /// # Errors
    /// When the disk fails.
    fn note(&self, bytes: &[u8]) -> io::Result<()>;
}

/// Who uses a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody has its lock.
    Nobody,
    /// A process has it, and has noted this; nothing at first.
    Process(Vec<u8>),
}

/// An open file, read and written by position from any thread.
pub trait DiskFile: Send + Sync + 'static {
    /// Fills `buffer` from position `at`.
    ///
    /// # Errors
    /// When the file ends before, or the disk fails.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all of `bytes` at position `at`.
    ///
    /// # Errors
    /// When the disk fails or is full; then any part may have been written.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// When the disk fails; then what was written is lost in part, and another sync says nothing.
    fn sync(&self) -> io::Result<()>;
    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the disk fails.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file, or lengthens it with zeros that take no room.
    ///
    /// # Errors
    /// When the disk fails.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// Whether a write failed for want of room or quota, or because the file system takes nothing: it may go well later.
pub(crate) fn lacks_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

/// A folder of the file system.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// Takes a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(folder: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let folder = folder.into();
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(RealDisk { folder })
    }

    /// Takes a folder that is there.
    ///
    /// # Errors
    /// When it is not there, or is no folder.
    pub fn existing(folder: impl Into<PathBuf>) -> io::Result<RealDisk> {
        let folder = folder.into();
        if !std::fs::metadata(&folder)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(RealDisk { folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Disk for RealDisk {
    type File = File;
    type Lock = File;

    fn lock(&self) -> io::Result<Option<File>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.folder.join(LOCK))?;
        for tried in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tried < LOCK_TRIES => pause(),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // What the one before has noted says nothing of this one.
        file.set_len(0)?;
        Ok(Some(file))
    }

    fn holder(&self) -> io::Result<Holder> {
        let file = match File::open(self.folder.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
            opened => opened?,
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(Holder::Nobody),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut note = Vec::new();
        file.take(NOTE_BYTES_MAX).read_to_end(&mut note)?;
        Ok(Holder::Process(note))
    }

    fn open_to_read(&self, name: &str) -> io::Result<File> {
        File::open(self.folder.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.folder.join(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.folder.join(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

#[expect(clippy::disallowed_methods, reason = "a lock cannot be waited for with a deadline")]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

impl DiskLock for File {
    fn note(&self, bytes: &[u8]) -> io::Result<()> {
        unix::FileExt::write_all_at(self, bytes, 0)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        unix::FileExt::read_exact_at(self, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        unix::FileExt::write_all_at(self, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_for_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(folder.path().join("new/log")).expect("made");
        let lock = disk.lock().expect("no failure");
        assert!(lock.is_some());
        assert!(disk.lock().expect("no failure").is_none());
        drop(lock);
        assert!(disk.lock().expect("no failure").is_some());
    }

    #[test]
    fn the_holder_of_the_lock_and_what_it_noted_are_seen_without_taking_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::existing(folder.path()).expect("there");
        let holder = || disk.holder().expect("no failure");
        assert_eq!(holder(), Holder::Nobody);
        assert_eq!(disk.list().expect("listed"), Vec::<String>::new(), "nothing was made");
        let lock = disk.lock().expect("no failure").expect("free");
        assert_eq!(holder(), Holder::Process(vec![]));
        lock.note(b"one").expect("noted");
        lock.note(b"two").expect("noted");
        assert_eq!(holder(), Holder::Process(b"two".to_vec()));
        drop(lock);
        assert_eq!(holder(), Holder::Nobody);
        let _lock = disk.lock().expect("no failure").expect("free");
        assert_eq!(holder(), Holder::Process(vec![]), "what the one before noted is gone");
        assert!(RealDisk::existing(folder.path().join("not there")).is_err());
    }

    #[test]
    fn who_asks_for_the_holder_keeps_nobody_from_starting() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(folder.path()).expect("made");
        drop(disk.lock().expect("no failure"));
        let probe = File::open(folder.path().join(LOCK)).expect("there");
        probe.try_lock_shared().expect("free");
        let waiting = std::thread::spawn(move || disk.lock().expect("no failure").is_some());
        drop(probe);
        assert!(waiting.join().expect("ran"));
    }

    #[test]
    fn a_removed_file_is_still_read_by_who_has_it_open() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::new(folder.path()).expect("there");
        let file = disk.create("a").expect("made");
        file.write_at(b"xyz", 2).expect("written");
        disk.rename("a", "b").expect("renamed");
        disk.unlink("b").expect("removed");
        let mut bytes = [1; 5];
        file.read_at(&mut bytes, 0).expect("read");
        assert_eq!(&bytes, b"\0\0xyz");
        assert!(file.read_at(&mut bytes, 1).is_err(), "the file ends before");
        assert_eq!(disk.list().expect("listed"), Vec::<String>::new());
        assert!(disk.open("b").is_err());
    }
}
