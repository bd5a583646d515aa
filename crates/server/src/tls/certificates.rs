use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::files::{Pair, TlsError, TlsFiles};

/// The certificate that handshakes are given, and the files that it comes from.
#[derive(Debug)]
pub(super) struct Certificates {
    files: TlsFiles,
    current: RwLock<Current>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    not_after_s: u64,
}

/// What was seen of the files.
#[derive(Debug)]
struct Seen {
    /// When they were last read, in vain or not.
    read: Stamps,
    /// When they were last looked at.
    looked: Stamps,
}

/// What tells a file from the one that it was before: device, number, length, and time of the last change. None where
/// there is none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;
type Stamps = [Stamp; 2];

impl Certificates {
    pub(super) fn read(files: &TlsFiles) -> Result<Certificates, TlsError> {
        // First: a change after it is seen.
        let stamps = stamps(files);
        let current = RwLock::new(files.read()?.into());
        Ok(Certificates { files: files.clone(), current, seen: Mutex::new(Seen { read: stamps, looked: stamps }) })
    }

    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let stamps = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Seen { read: stamps, looked: stamps };
        let pair = self.files.read()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair.into();
        Ok(())
    }

    /// Whether the files are others than those that were read last, and have been left alone since the last look: who
    /// puts new ones there puts one after the other.
    pub(super) fn have_changed(&self) -> bool {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let are_settled = std::mem::replace(&mut seen.looked, now) == now;
        are_settled && now != seen.read
    }

    pub(super) fn not_after_s(&self) -> u64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after_s
    }
}

impl From<Pair> for Current {
    fn from(pair: Pair) -> Current {
        Current { certified: Arc::new(pair.certified), not_after_s: pair.not_after_s }
    }
}

impl ResolvesServerCert for Certificates {
    /// Whatever name the client asks for: the hub has one certificate.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).certified))
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [stamp(&files.cert), stamp(&files.key)]
}

/// Of what a link leads to: where certificates are put in place by changing a link, its target is another file.
fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}
