//! As much of Redis' protocol (RESP 2) as comparing with it takes.

/// The longest reply.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// The longest line of a reply.
const LINE_BYTES_MAX: usize = 64 * 1_024;

/// A reply that is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    /// None: the null string.
    Bulk(Option<&'a [u8]>),
}

/// A command as an array of strings.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The reply at the beginning of these bytes and its length; none if it is not whole yet. The error is a fragment that
/// fits "answered with …".
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<(Reply<'_>, usize)>, String> {
    let Some(end) = bytes.windows(2).take(LINE_BYTES_MAX).position(|pair| pair == b"\r\n") else {
        let too_long = bytes.len() > LINE_BYTES_MAX;
        return if too_long { Err(format!("a line of more than {LINE_BYTES_MAX} bytes")) } else { Ok(None) };
    };
    let (line, after) = (&bytes[..end], end + 2);
    let Some((kind, rest)) = line.split_first() else { return Err("an empty line".to_owned()) };
    let number = || {
        let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok());
        number.ok_or_else(|| format!("{:?} where a number is due", String::from_utf8_lossy(rest)))
    };
    let whole = match kind {
        b'+' => Reply::Simple(rest),
        b'-' => Reply::Error(rest),
        b':' => Reply::Integer(number()?),
        b'$' => return bulk(bytes, after, number()?),
        _ => return Err(format!("{:?}, which is no reply", String::from_utf8_lossy(line))),
    };
    Ok(Some((whole, after)))
}

fn bulk(bytes: &[u8], begin: usize, length: i64) -> Result<Option<(Reply<'_>, usize)>, String> {
    if length == -1 {
        return Ok(Some((Reply::Bulk(None), begin)));
    }
    let length = usize::try_from(length).ok().filter(|&length| length <= REPLY_BYTES_MAX);
    let end = begin + length.ok_or("a string of a length that is none, or too large")?;
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    if &bytes[end..end + 2] != b"\r\n" {
        return Err("a string longer than its length".to_owned());
    }
    Ok(Some((Reply::Bulk(Some(&bytes[begin..end])), end + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        assert_eq!(command(&[b"XLEN", b"a b"]), b"*2\r\n$4\r\nXLEN\r\n$3\r\na b\r\n");
    }

    #[test]
    fn replies_are_whole_or_not_yet_there() {
        let all: [(&[u8], Reply<'_>); 6] = [
            (b"+PONG\r\n", Reply::Simple(b"PONG")),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":-12\r\n", Reply::Integer(-12)),
            (b"$4\r\n1\r\n2\r\n", Reply::Bulk(Some(b"1\r\n2"))),
            (b"$0\r\n\r\n", Reply::Bulk(Some(b""))),
            (b"$-1\r\n", Reply::Bulk(None)),
        ];
        for (bytes, expected) in all {
            for length in 0..bytes.len() {
                assert_eq!(reply(&bytes[..length]), Ok(None), "{bytes:?} cut at {length}");
            }
            let followed = [bytes, b"+OK\r\n"].concat();
            assert_eq!(reply(&followed), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let all: [&[u8]; 7] =
            [b"\r\n", b"HTTP/1.1 200 OK\r\n", b":x\r\n", b"$-2\r\n", b"$99999999\r\n", b"$1\r\nab\r\n", b"*1\r\n"];
        for bytes in all {
            assert!(reply(bytes).is_err(), "{bytes:?}");
        }
        assert!(reply(&vec![b'+'; LINE_BYTES_MAX + 1]).is_err());
    }
}
