use std::fmt;

/// A content reduced to its length and a hash, so that a page in a browser can report 256 KiB
/// in a few bytes.
///
/// The hash is 32-bit FNV-1a over UTF-16 code units, because that is what a script sees:
/// `for (i = 0; i < s.length; i++) h = Math.imul(h ^ s.charCodeAt(i), 16777619) >>> 0`, from
/// 2166136261.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// UTF-16 code units.
    pub units: u64,
    /// FNV-1a over them.
    pub hash: u32,
}

impl Digest {
    /// The digest of a content. CR and CR LF count as LF, as the hub sends them.
    #[must_use]
    pub fn of(content: &str) -> Digest {
        let mut digest = Digest { units: 0, hash: 2_166_136_261 };
        let mut units = content.encode_utf16().peekable();
        while let Some(unit) = units.next() {
            if unit == u16::from(b'\r') {
                units.next_if_eq(&u16::from(b'\n'));
                digest.add(u16::from(b'\n'));
            } else {
                digest.add(unit);
            }
        }
        digest
    }

    fn add(&mut self, unit: u16) {
        self.units += 1;
        self.hash = (self.hash ^ u32::from(unit)).wrapping_mul(16_777_619);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} units, hash {:08x}", self.units, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(Digest::of(""), Digest { units: 0, hash: 0x811c_9dc5 });
        assert_eq!(Digest::of("a"), Digest { units: 1, hash: 0xe40c_292c });
        assert_eq!(Digest::of("\u{1f30a}").units, 2);
    }

    #[test]
    fn line_ends_are_alike() {
        assert_eq!(Digest::of("a\r\nb\rc\r"), Digest::of("a\nb\nc\n"));
        assert_ne!(Digest::of("a\n\nb"), Digest::of("a\nb"));
    }
}
