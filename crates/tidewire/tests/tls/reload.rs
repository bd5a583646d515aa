//! Another certificate, while streams go on.

use tidewire_harness::{Pair, wait_until};

use super::*;

/// The certificate that a new client is shown.
fn shown(tls: &TlsHub) -> Vec<u8> {
    let mut http = tls.connect();
    let session = http.session().expect("it is TLS");
    session.peer_certificates().expect("it was shown").first().expect("its own").to_vec()
}

#[test]
fn new_files_are_for_new_handshakes_and_streams_stay() {
    const YEAR_2050_S: u64 = 2_524_608_000;
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    let first = shown(&tls);
    let Pair { cert, key } = tls.authority.issue(2050);
    tls.authority.put_cert(&cert);
    tls.authority.put_key(&key);
    wait_until("it is read again", WITHIN, || tls.hub.figure("tidewire_tls_reloads_total") == 1);
    assert_eq!(tls.hub.figure("tidewire_tls_certificate_not_after_seconds"), YEAR_2050_S);
    let second = shown(&tls);
    assert!(first != second && second == shown(&tls));
    let id = tls.publish("on both sides");
    assert_eq!(stream.published().id, id);
    assert_eq!(tls.hub.figure("tidewire_tls_reload_failures_total"), 0);
}

#[test]
fn files_that_do_not_fit_are_told_and_the_ones_before_stay() {
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    let first = shown(&tls);
    tls.authority.put_key(&tls.authority.issue(2050).key);
    wait_until("it is read in vain", WITHIN, || tls.hub.figure("tidewire_tls_reload_failures_total") == 1);
    wait_until("it is told", WITHIN, || tls.hub.has_told("is not that of the certificate"));
    assert_eq!(shown(&tls), first);
    std::fs::remove_file(tls.authority.cert()).expect("it is there");
    wait_until("it is read in vain", WITHIN, || tls.hub.figure("tidewire_tls_reload_failures_total") == 2);
    wait_until("it is told", WITHIN, || tls.hub.has_told("No such file"));
    assert_eq!(shown(&tls), first);
    let Pair { cert, key } = tls.authority.issue(2050);
    tls.authority.put_cert(&cert);
    tls.authority.put_key(&key);
    wait_until("it is read again", WITHIN, || tls.hub.figure("tidewire_tls_reloads_total") == 1);
    assert_ne!(shown(&tls), first);
    let id = tls.publish("all the while");
    assert_eq!(stream.published().id, id);
}

#[test]
fn a_hang_up_has_the_files_read_at_once() {
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    tls.hub.signal("HUP");
    // They are what they were, and nobody would read them by himself.
    wait_until("they are read again", WITHIN, || tls.hub.figure("tidewire_tls_reloads_total") == 1);
    let id = tls.publish("after it");
    assert_eq!(stream.published().id, id);
}
