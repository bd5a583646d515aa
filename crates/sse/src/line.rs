/// The fields of the standard, and what is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Data,
    Event,
    Id,
    Retry,
    Comment,
    Unknown,
}

impl Field {
    /// A comment is a line whose name is empty.
    fn named(name: &[u8]) -> Self {
        match name {
            b"data" => Self::Data,
            b"event" => Self::Event,
            b"id" => Self::Id,
            b"retry" => Self::Retry,
            b"" => Self::Comment,
            _ => Self::Unknown,
        }
    }
}

/// The longest name known: `event` and `retry`.
const NAME_BYTES_MAX: usize = 5;

/// An unfinished line: which field it is. Its value is kept by the decoder.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Bytes of the line that have been looked at, none of them over the limit.
    pub(crate) length: usize,
    /// The line is over the limit.
    pub(crate) too_long: bool,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Name {
        bytes: [u8; NAME_BYTES_MAX],
        length: usize,
    },
    /// Behind the colon, where one space is dropped.
    Colon(Field),
    Value(Field),
}

impl Default for Progress {
    fn default() -> Self {
        Self::Name { bytes: [0; NAME_BYTES_MAX], length: 0 }
    }
}

impl Line {
    /// Takes from `part` what belongs to the name, the colon and its space, and returns what belongs to the value.
    pub(crate) fn take_name<'a>(&mut self, mut part: &'a [u8]) -> &'a [u8] {
        if let Progress::Name { bytes, length } = &mut self.progress {
            let colon = part.iter().take(NAME_BYTES_MAX + 1 - *length).position(|&byte| byte == b':');
            let name = &part[..colon.unwrap_or(part.len())];
            let end = *length + name.len();
            match (bytes.get_mut(*length..end), colon) {
                (Some(free), colon) => {
                    free.copy_from_slice(name);
                    *length = end;
                    let Some(colon) = colon else { return &[] };
                    self.progress = Progress::Colon(Field::named(&bytes[..end]));
                    part = &part[colon + 1..];
                }
                // Longer than any name that is known, whatever comes.
                (None, _) => self.progress = Progress::Value(Field::Unknown),
            }
        }
        if let (Progress::Colon(field), Some(&first)) = (&self.progress, part.first()) {
            self.progress = Progress::Value(*field);
            if first == b' ' {
                part = &part[1..];
            }
        }
        part
    }

    /// Whether the name is known to be over.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self.progress, Progress::Name { .. })
    }

    /// Whether this is a data line with a colon.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.progress, Progress::Colon(Field::Data) | Progress::Value(Field::Data))
    }

    /// Whether the value is wanted, and is not data.
    pub(crate) fn holds_value(&self) -> bool {
        matches!(self.progress, Progress::Value(Field::Event | Field::Id | Field::Retry | Field::Comment))
    }

    /// The field of the line as it stands, which is that of the whole line once it has ended.
    pub(crate) fn field(&self) -> Field {
        match &self.progress {
            Progress::Name { bytes, length } => Field::named(&bytes[..*length]),
            Progress::Colon(field) | Progress::Value(field) => *field,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(parts: &[&'static str]) -> (Field, &'static str) {
        let mut line = Line::default();
        let value = parts.iter().map(|part| line.take_name(part.as_bytes())).last().unwrap_or_default();
        (line.field(), core::str::from_utf8(value).expect("cut from ASCII"))
    }

    #[test]
    fn the_value_is_what_follows_the_colon_and_one_space() {
        assert_eq!(taken(&["data: x"]), (Field::Data, "x"));
        assert_eq!(taken(&["data:x"]), (Field::Data, "x"));
        assert_eq!(taken(&["data:  x"]), (Field::Data, " x"));
        assert_eq!(taken(&["da", "ta", ":", " ", "x"]), (Field::Data, "x"));
        assert_eq!(taken(&["retry:", " ", " "]), (Field::Retry, " "));
        assert_eq!(taken(&[":", "x"]), (Field::Comment, "x"));
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(taken(&["id"]), (Field::Id, ""));
        assert_eq!(taken(&["ID: x"]).0, Field::Unknown);
        assert_eq!(taken(&["events: x"]).0, Field::Unknown);
        assert_eq!(taken(&["event", "s", ": x"]).0, Field::Unknown);
        assert_eq!(taken(&["dat"]).0, Field::Unknown);
        assert_eq!(taken(&["data ", ": x"]).0, Field::Unknown);
    }
}
