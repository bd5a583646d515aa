//! No bytes in `Forwarded` and `X-Forwarded-For` make reading them panic. Who is not trusted is not believed, and a client
//! that writes before the proxy does can hide, but not be somebody else.
//!
//! Lines: those that begin with a comma are of the one field, the others of the other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_core::{ClientAddress, TrustedProxies, client_address};

fuzz_target!(|bytes: &[u8]| {
    let trusted = TrustedProxies::parse("10.0.0.0/8, fd00::/8").expect("a list");
    let address = |text: &str| text.parse::<ClientAddress>().expect("an address");
    let (proxy, stranger, client) = (address("10.0.0.1"), address("192.0.2.1"), address("198.51.100.1"));
    let lines = || bytes.split(|&byte| byte == b'\n');
    let name = |line: &[u8]| if line.starts_with(b",") { "forwarded" } else { "x-forwarded-for" };
    let headers = || lines().map(|line| (name(line), line));
    assert_eq!(client_address(stranger, headers(), &trusted), stranger);
    client_address(proxy, headers(), &trusted);
    for line in lines() {
        let written = [line, b", for=198.51.100.1"].concat();
        let told = client_address(proxy, [("Forwarded", &*written)].into_iter(), &trusted);
        assert!(told == client || told == proxy, "{told}");
        let written = [line, b", 198.51.100.1"].concat();
        assert_eq!(client_address(proxy, [("X-Forwarded-For", &*written)].into_iter(), &trusted), client);
    }
});
