use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::shutdown::shutdown;

/// Files of a certificate and its key that a test changes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { cert: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem") }
    }

    /// Puts both there, valid until the beginning of this year.
    fn put(&self, year: i32) -> (String, String) {
        let (cert, key) = pair(year);
        put(&self.files().cert, &cert);
        put(&self.files().key, &key);
        (cert, key)
    }
}

/// With a certificate that nobody is shown.
pub(crate) fn any() -> Tls {
    let folder = Folder::new();
    folder.put(2040);
    Tls::new(&folder.files()).expect("a pair")
}

fn pair(year: i32) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let cert = params.self_signed(&key).expect("a certificate");
    (pem("CERTIFICATE", cert.der()), pem("PRIVATE KEY", key.serialized_der()))
}

fn pem(kind: &str, der: &[u8]) -> String {
    let lines: Vec<u8> = STANDARD.encode(der).into_bytes().chunks(64).flat_map(|line| [line, b"\n"].concat()).collect();
    format!("-----BEGIN {kind}-----\n{}-----END {kind}-----\n", String::from_utf8_lossy(&lines))
}

/// As who changes files does it well: the new one takes the old one's place.
fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("a file");
    fs::rename(beside, path).expect("a file");
}

const YEAR_2040_S: u64 = 2_208_988_800;
const YEAR_2050_S: u64 = 2_524_608_000;

#[test]
fn a_pair_is_read_with_the_time_it_is_good_for() {
    let folder = Folder::new();
    for (year, expected) in [(2040, YEAR_2040_S), (2050, YEAR_2050_S)] {
        folder.put(year);
        assert_eq!(Tls::new(&folder.files()).expect("a pair").not_after_s(), expected);
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_file_and_why() {
    let folder = Folder::new();
    let files = folder.files();
    let refused = |which: TlsFile, said: &str| {
        let error = files.check().expect_err("it cannot be used");
        assert_eq!(error.which(), which, "{error}");
        let text = format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(said), "{text}");
    };
    refused(TlsFile::Cert, "No such file");
    let (cert, key) = folder.put(2040);
    files.check().expect("a pair");
    for wrong in ["", "no PEM", &key, "-----BEGIN CERTIFICATE-----\nAAA"] {
        put(&files.cert, wrong);
        refused(TlsFile::Cert, "holds no certificate");
    }
    put(&files.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused(TlsFile::Cert, "cannot be read");
    put(&files.cert, &cert);
    for wrong in ["", &cert] {
        put(&files.key, wrong);
        refused(TlsFile::Key, "holds no private key");
    }
    put(&files.key, &pair(2040).1);
    refused(TlsFile::Key, "is not that of the certificate");
    put(&files.key, &"x".repeat((1 << 20) + 1));
    refused(TlsFile::Key, "has more than");
    fs::remove_file(&files.key).expect("it is there");
    refused(TlsFile::Key, "No such file");
    put(&files.key, &key);
    files.check().expect("a pair");
}

#[test]
fn files_are_read_again_once_they_have_changed_and_are_left_alone() {
    let folder = Folder::new();
    folder.put(2040);
    let tls = Tls::new(&folder.files()).expect("a pair");
    assert!(!tls.certificates.have_changed() && !tls.certificates.have_changed());
    let (cert, key) = pair(2050);
    put(&folder.files().cert, &cert);
    assert!(!tls.certificates.have_changed(), "somebody is at it");
    put(&folder.files().key, &key);
    assert!(!tls.certificates.have_changed(), "somebody is at it");
    assert!(tls.certificates.have_changed());
    tls.reload();
    assert!(!tls.certificates.have_changed() && !tls.certificates.have_changed());
    assert_eq!((tls.not_after_s(), tls.figures().reloads(), tls.figures().reload_failures()), (YEAR_2050_S, 1, 0));
}

#[test]
fn files_that_cannot_be_used_are_read_in_vain_once_and_the_pair_stays() {
    let folder = Folder::new();
    folder.put(2040);
    let tls = Tls::new(&folder.files()).expect("a pair");
    put(&folder.files().key, &pair(2050).1);
    assert!(!tls.certificates.have_changed());
    assert!(tls.certificates.have_changed());
    tls.reload();
    assert!(!tls.certificates.have_changed() && !tls.certificates.have_changed(), "it is told once");
    assert_eq!((tls.not_after_s(), tls.figures().reloads(), tls.figures().reload_failures()), (YEAR_2040_S, 0, 1));
    folder.put(2050);
    assert!(!tls.certificates.have_changed());
    assert!(tls.certificates.have_changed());
    tls.reload();
    assert_eq!((tls.not_after_s(), tls.figures().reloads(), tls.figures().reload_failures()), (YEAR_2050_S, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_files_are_watched_until_the_hub_stops() {
    let folder = Folder::new();
    folder.put(2040);
    let tls = Arc::new(Tls::new(&folder.files()).expect("a pair"));
    let (stopper, stop) = shutdown();
    let watching = tokio::spawn(Arc::clone(&tls).watch(stop));
    folder.put(2050);
    while tls.not_after_s() != YEAR_2050_S {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    stopper.stop().await;
    watching.await.expect("it does not panic");
    assert_eq!(tls.figures().reloads(), 1);
}
