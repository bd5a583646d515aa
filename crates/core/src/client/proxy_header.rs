//! The header of the PROXY protocol, by which a proxy says before anything else whose connection it passes on. Both
//! versions, as <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt> has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{ClientAddress, read_port};

/// The longest header that is read, in bytes: room for the certificate that a proxy tells of, and more.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * 1024;

/// What version 1 begins with.
const PREFIX: &[u8] = b"PROXY ";
/// The longest line of version 1, in bytes, its end included.
const LINE_BYTES_MAX: usize = 107;
/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = 16;
/// Of an extension's beginning: type and length.
const EXTENSION_BYTES: usize = 3;
/// The extension that holds a checksum of the header.
const CHECKSUM: u8 = 0x03;

/// A header that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes it has.
    pub length: usize,
    /// Whose connection it is; none if it is the proxy's own, or the proxy does not say.
    pub client: Option<ClientAddress>,
}

/// What came is no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header of the PROXY protocol")]
pub struct MalformedProxyHeader;

use MalformedProxyHeader as Malformed;

impl ProxyHeader {
    /// Reads the header at the beginning of a connection's bytes; none if more must come. What can be no header is known
    /// by its first wrong byte, or its length.
    ///
    /// # Errors
    /// When it is no header, or a longer one than [`PROXY_HEADER_BYTES_MAX`].
    pub fn read(bytes: &[u8]) -> Result<Option<ProxyHeader>, MalformedProxyHeader> {
        if begins_as(bytes, PREFIX) {
            return read_line(bytes);
        }
        if !begins_as(bytes, SIGNATURE) {
            return Err(Malformed);
        }
        let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
        let [.., command, family, high, low] = *fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if FIXED_BYTES + length > PROXY_HEADER_BYTES_MAX {
            return Err(Malformed);
        }
        let Some(told) = rest.get(..length) else { return Ok(None) };
        let client = match command {
            // The proxy's own connection, whatever else it says.
            0x20 => None,
            0x21 => read_binary(family, told, &bytes[..FIXED_BYTES + length])?,
            _ => return Err(Malformed),
        };
        Ok(Some(ProxyHeader { length: FIXED_BYTES + length, client }))
    }
}

/// Whether the bytes begin so, as far as they go.
fn begins_as(bytes: &[u8], beginning: &[u8]) -> bool {
    let length = bytes.len().min(beginning.len());
    bytes[..length] == beginning[..length]
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 4711 443` and the line's end.
fn read_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, Malformed> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = line.windows(2).position(|pair| pair == b"\r\n") else {
        return if line.len() == LINE_BYTES_MAX { Err(Malformed) } else { Ok(None) };
    };
    let line = str::from_utf8(&line[PREFIX.len()..end]).map_err(|_| Malformed)?;
    let fields: Vec<&str> = line.split(' ').collect();
    let client = match *fields {
        // The rest means nothing.
        ["UNKNOWN", ..] => None,
        ["TCP4", source, destination, port, to] => Some(read_fields::<Ipv4Addr>(source, destination, port, to)?),
        ["TCP6", source, destination, port, to] => Some(read_fields::<Ipv6Addr>(source, destination, port, to)?),
        _ => return Err(Malformed),
    };
    Ok(Some(ProxyHeader { length: end + 2, client }))
}

fn read_fields<A>(source: &str, destination: &str, from: &str, to: &str) -> Result<ClientAddress, Malformed>
where
    A: FromStr + Into<IpAddr>,
{
    let address = |text: &str| text.parse::<A>().map_err(|_| Malformed);
    let port = |text: &str| read_port(text).ok_or(Malformed);
    address(destination)?;
    port(to)?;
    Ok(ClientAddress::new(address(source)?.into(), Some(port(from)?)))
}

/// What version 2 tells behind its fixed bytes: addresses by the family, then extensions.
fn read_binary(family: u8, told: &[u8], header: &[u8]) -> Result<Option<ClientAddress>, Malformed> {
    // Of streams and of datagrams; what protocol a proxy does not say, it says of no address.
    let protocol = family & 0x0f;
    if protocol > 2 {
        return Err(Malformed);
    }
    let (client, extensions) = match family >> 4 {
        0 => return Ok(None),
        1 => {
            let (&[a, b, c, d, _, _, _, _, high, low, _, _], rest) = told.split_first_chunk().ok_or(Malformed)?;
            (ClientAddress::new(IpAddr::from([a, b, c, d]), Some(u16::from_be_bytes([high, low]))), rest)
        }
        2 => {
            let (source, rest) = told.split_first_chunk::<16>().ok_or(Malformed)?;
            let (_destination, rest) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            let (&[high, low, _, _], rest) = rest.split_first_chunk().ok_or(Malformed)?;
            (ClientAddress::new(IpAddr::from(*source), Some(u16::from_be_bytes([high, low]))), rest)
        }
        3 => {
            let (_, rest) = told.split_first_chunk::<216>().ok_or(Malformed)?;
            (ClientAddress::Unix, rest)
        }
        _ => return Err(Malformed),
    };
    check_extensions(extensions, header)?;
    Ok((protocol != 0).then_some(client))
}

/// Extensions mean nothing to the hub, but for the checksum, which must be right where it is.
fn check_extensions(mut extensions: &[u8], header: &[u8]) -> Result<(), Malformed> {
    while !extensions.is_empty() {
        let ([kind, high, low], rest) = extensions.split_first_chunk::<EXTENSION_BYTES>().ok_or(Malformed)?;
        let (value, behind) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))).ok_or(Malformed)?;
        if *kind == CHECKSUM {
            let checksum = value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed)?;
            let end = header.len() - behind.len();
            // It is made with zeros in its place.
            let before = crc32c::crc32c(&header[..end - value.len()]);
            let whole = crc32c::crc32c_append(crc32c::crc32c_append(before, &[0; 4]), &header[end..]);
            if whole != checksum {
                return Err(Malformed);
            }
        }
        extensions = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
