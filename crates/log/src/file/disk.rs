use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};

/// The file whose lock says that a process uses the folder.
const LOCK: &str = "lock";

/// A folder on a disk: all that the file log asks of one. What was not synced may be lost at a
/// crash, wholly or in part; a created, renamed or removed name is synced by [`Disk::sync_names`].
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held as long as the folder is used.
    type Lock: Send + Sync;

    /// Takes the folder's lock; `None` if another holds it.
    ///
    /// # Errors
    /// When the disk fails.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;
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
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
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
