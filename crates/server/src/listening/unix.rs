//! Unix sockets, and their files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The file of a Unix socket, which is removed when this is dropped, unless somebody has put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

/// Listens on a path, at which a file that nobody listens on may have been left.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(OwnedFd, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::at(path)?;
    // Before it listens: nobody connects earlier.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, which is no socket"));
        }
        Ok(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where too many wait already, somebody listens.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(in_use()),
        Err(error) => Err(error),
        Ok(()) => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, "somebody listens on it")
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), device_and_inode: device_and_inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if device_and_inode(&self.path).ok() == Some(self.device_and_inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "failed to remove a socket's file");
        }
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_file_is_there_as_long_as_its_socket_and_may_be_used_by_those_who_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.sock");
        for mode in [0o600, 0o666] {
            let (_socket, file) = bind(&path, mode).expect("it is free");
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, mode);
            UnixStream::connect(&path).expect("it listens");
            let refused = bind(&path, mode).expect_err("it is taken");
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_was_left_is_removed_and_what_is_no_socket_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.sock");
        let (socket, file) = bind(&path, 0o600).expect("it is free");
        // As a kill leaves it.
        std::mem::forget(file);
        drop(socket);
        let (_socket, file) = bind(&path, 0o600).expect("nobody listens on it");
        // Another has taken the path over.
        fs::remove_file(&path).expect("a file");
        fs::write(&path, "mine").expect("a file");
        drop(file);
        assert_eq!(bind(&path, 0o600).expect_err("a file").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("a file"), b"mine");
    }

    #[test]
    fn where_too_many_wait_somebody_listens() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hub.sock");
        let full = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(&path).expect("a short path");
        full.bind(&address).expect("it is free");
        full.listen(0).expect("it listens");
        let waiting = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        waiting.connect(&address).expect("one may wait");
        assert_eq!(bind(&path, 0o600).expect_err("it is taken").kind(), io::ErrorKind::AddrInUse);
    }
}
