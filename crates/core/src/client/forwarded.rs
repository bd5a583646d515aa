//! Where a client is behind proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

use super::{ClientAddress, TrustedProxies};

/// So many proxies may stand between a client and the hub; whoever is behind more has the address of the last of these.
const HOPS_MAX: usize = 64;

/// What is looked at of each field line, in bytes, from its end: nearer proxies write behind others.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Where the client of a request is. `peer` is at the other end of the connection. Is it a proxy that is trusted, then
/// what it added to the request is believed, and so on from the last to the first, until somebody is not trusted, or is
/// not known. If both fields are there, a client may have sent one of them through a proxy that knows the other alone:
/// they are believed as far as they agree.
pub fn client_address<'a>(
    peer: ClientAddress,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    trusted: &TrustedProxies,
) -> ClientAddress {
    if !trusted.contains(peer) {
        return peer;
    }
    let (mut forwarded, mut x_forwarded_for) = (Lines::default(), Lines::default());
    for (name, value) in headers {
        match name.len() {
            9 if name.eq_ignore_ascii_case("forwarded") => forwarded.add(value),
            15 if name.eq_ignore_ascii_case("x-forwarded-for") => x_forwarded_for.add(value),
            _ => {}
        }
    }
    let are_both = forwarded.is_there && x_forwarded_for.is_there;
    let mut client = peer;
    for _ in 0..HOPS_MAX {
        let next = match are_both {
            true => agreed(forwarded.next(elements), x_forwarded_for.next(members)),
            false => forwarded.next(elements).or_else(|| x_forwarded_for.next(members)),
        };
        let Some(Some(next)) = next else { break };
        client = next;
        if !trusted.contains(client) {
            break;
        }
    }
    client
}

/// Whom a proxy names; none if it does not say, or what it says is no address.
type Hop = Option<ClientAddress>;

/// The lines of a field, read from the end.
#[derive(Default)]
struct Lines<'a> {
    lines: Vec<&'a [u8]>,
    is_there: bool,
    /// Of the line that is read.
    hops: Vec<Hop>,
}

impl<'a> Lines<'a> {
    fn add(&mut self, line: &'a [u8]) {
        // A field without a value says nothing.
        self.is_there |= !line.trim_ascii().is_empty();
        self.lines.push(line);
    }

    /// The last hop that was not read yet.
    fn next(&mut self, read: fn(&[u8]) -> Vec<Hop>) -> Option<Hop> {
        while self.hops.is_empty() {
            self.hops = read(end_of(self.lines.pop()?));
        }
        self.hops.pop()
    }
}

/// The end of a line that is too long, from the first comma on.
fn end_of(line: &[u8]) -> &[u8] {
    let Some(cut) = line.len().checked_sub(LINE_BYTES_MAX) else { return line };
    let end = &line[cut..];
    end.iter().position(|&byte| byte == b',').map_or(&[], |comma| &end[comma..])
}

/// Where both fields say the same.
fn agreed(one: Option<Hop>, other: Option<Hop>) -> Option<Hop> {
    let (Some(Some(one)), Some(Some(other))) = (one, other) else { return None };
    let is_same = one.ip().is_some() && one.ip() == other.ip();
    let has_port = matches!(one, ClientAddress::Ip(_, Some(_)));
    is_same.then_some(Some(if has_port { one } else { other }))
}

/// The members of a line of `X-Forwarded-For`.
fn members(line: &[u8]) -> Vec<Hop> {
    let members = line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty()).map(ClientAddress::read).collect()
}

/// Whom each element of a line of `Forwarded` is for.
fn elements(line: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    let mut rest = line;
    loop {
        rest = behind(rest, |byte| is_space(byte) || byte == b',');
        if rest.is_empty() {
            return hops;
        }
        let mut element = Element { rest, node: None };
        let is_whole = element.read().is_some();
        rest = element.rest;
        hops.push(element.node.filter(|_| is_whole).and_then(|node| node.address()));
        // Behind what is malformed, and in it, all are strangers until the next comma.
        rest = behind(rest, |byte| byte != b',');
    }
}

/// An element of `Forwarded`, while it is read. What is malformed is not read any further.
struct Element<'a> {
    rest: &'a [u8],
    node: Option<Node>,
}

impl Element<'_> {
    /// Reads `name=value;name=value` up to a comma or the end; none if it is anything else.
    fn read(&mut self) -> Option<()> {
        loop {
            let name = self.token();
            if !name.is_empty() {
                let is_for = name.eq_ignore_ascii_case(b"for");
                self.take(b'=')?;
                let node = self.value()?;
                // A parameter comes once.
                if is_for && self.node.replace(node).is_some() {
                    return None;
                }
            }
            self.rest = behind(self.rest, is_space);
            match self.rest.first() {
                None | Some(b',') => return Some(()),
                Some(_) => self.take(b';')?,
            }
            self.rest = behind(self.rest, is_space);
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    fn token(&mut self) -> &[u8] {
        let (token, rest) = self.rest.split_at(self.rest.len() - behind(self.rest, is_token).len());
        self.rest = rest;
        token
    }

    /// A token or a quoted string. One that is not ended is not gone behind: the comma at which reading goes on may be in it.
    fn value(&mut self) -> Option<Node> {
        let mut node = Node::default();
        let Some(mut quoted) = self.rest.strip_prefix(b"\"") else {
            let token = self.token();
            token.iter().for_each(|&byte| node.push(byte));
            return (!token.is_empty()).then_some(node);
        };
        loop {
            match quoted {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(node);
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
                    node.push(*byte);
                    quoted = rest;
                }
                [] => return None,
            }
        }
    }
}

/// The text of a value, as far as an address may be long.
#[derive(Clone, Copy)]
struct Node {
    bytes: [u8; super::TEXT_BYTES_MAX],
    length: usize,
}

impl Default for Node {
    fn default() -> Node {
        Node { bytes: [0; super::TEXT_BYTES_MAX], length: 0 }
    }
}

impl Node {
    fn push(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.length) {
            *free = byte;
        }
        self.length += 1;
    }

    /// The address; none for `unknown` and names that hide one. A port may be hidden as well.
    fn address(&self) -> Option<ClientAddress> {
        let text = self.bytes.get(..self.length)?;
        // Not every proxy puts IPv6 in brackets.
        if let Some(address) = ClientAddress::read(text) {
            return Some(address);
        }
        let colon = text.iter().rposition(|&byte| byte == b':')?;
        let is_hidden =
            |port: &[u8]| port.len() > 1 && port[0] == b'_' && port[1..].iter().all(|&byte| is_hiding(byte));
        let (host, port) = (&text[..colon], &text[colon + 1..]);
        ClientAddress::read(host).filter(|address| is_hidden(port) && matches!(address, ClientAddress::Ip(_, None)))
    }
}

fn is_hiding(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// What a token may have (RFC 9110, section 5.6.2), and beyond that what careless proxies do not quote.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn behind(bytes: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_skipped(byte)).unwrap_or(bytes.len());
    &bytes[start..]
}

#[cfg(test)]
mod tests;
