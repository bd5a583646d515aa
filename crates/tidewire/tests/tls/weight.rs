//! What a stream over TLS weighs.

use tidewire_harness::Cost;

use super::*;

/// Before these are open, buffers are made that all share.
const FIRST: usize = 500;
const MORE: usize = 2_000;
/// What an idle stream may take of the hub's memory, in bytes.
const BYTES_MAX: u64 = 12 * 1024;

#[test]
fn an_idle_stream_weighs_what_it_may() {
    for version in VERSIONS {
        let tls = TlsHub::start();
        let client = tls.authority.client(&[*version]);
        let open = |_| begin(Http::connect_tls(tls.hub.address(), &client).expect("TLS is agreed on"), "");
        let mut streams: Vec<EventStream> = (0..FIRST).map(open).collect();
        tls.publish("to all");
        streams.iter_mut().for_each(|stream| assert_eq!(stream.published().data, "to all"));
        let before = Cost::of(tls.hub.process()).resident;
        streams.extend((0..MORE).map(open));
        tls.publish("to all");
        streams.iter_mut().for_each(|stream| assert_eq!(stream.published().data, "to all"));
        assert_eq!(tls.hub.figure("tidewire_tls_streams"), (FIRST + MORE) as u64);
        let weight = Cost::of(tls.hub.process()).resident.saturating_sub(before) / MORE as u64;
        println!("{:?}: {weight} bytes a stream", version.version);
        assert!(weight <= BYTES_MAX, "{weight} bytes a stream");
    }
}
