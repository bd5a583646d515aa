//! No bytes make reading a header of the PROXY protocol panic, and what is read of it does not depend on where it was cut or
//! what follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidewire_core::{PROXY_HEADER_BYTES_MAX, ProxyHeader};

fuzz_target!(|bytes: &[u8]| {
    let read = ProxyHeader::read(bytes);
    let cuts = [bytes.len() / 2, bytes.len().saturating_sub(1)];
    match read {
        Ok(Some(header)) => {
            assert!(header.length <= bytes.len().min(PROXY_HEADER_BYTES_MAX));
            assert_eq!(ProxyHeader::read(&bytes[..header.length]), read);
            assert_eq!(ProxyHeader::read(&bytes[..header.length - 1]), Ok(None));
            for byte in [b'\r', b'\n', 0] {
                assert_eq!(ProxyHeader::read(&[bytes, &[byte]].concat()), read);
            }
        }
        Ok(None) => {
            assert!(bytes.len() < PROXY_HEADER_BYTES_MAX);
            assert!(cuts.iter().all(|&cut| ProxyHeader::read(&bytes[..cut]) == Ok(None)));
        }
        Err(_) => assert!(ProxyHeader::read(&[bytes, b"\r\n"].concat()).is_err()),
    }
});
