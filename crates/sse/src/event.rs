use alloc::string::String;
use alloc::vec::Vec;

use crate::encode::{self, EncodeError, Field};

/// An event to be encoded. What could not be sent is refused when it is set, so encoding cannot fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    data: String,
    id: Option<String>,
    event_type: Option<String>,
    retry_ms: Option<u64>,
}

impl Event {
    /// An event with this data, of type `message` and without an id. Any text will do; its line endings become LF.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), id: None, event_type: None, retry_ms: None }
    }

    /// Sets the id. The empty one clears the reader's last event id.
    ///
    /// # Errors
    /// [`EncodeError::ForbiddenByte`] if it holds CR, LF or NUL.
    pub fn with_id(mut self, id: impl Into<String>) -> Result<Self, EncodeError> {
        let id = id.into();
        encode::check_line(Field::Id, &id)?;
        self.id = Some(id);
        Ok(self)
    }

    /// Sets the type.
    ///
    /// # Errors
    /// [`EncodeError::ForbiddenByte`] if it holds CR, LF or NUL, [`EncodeError::EmptyType`] if it is empty.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Result<Self, EncodeError> {
        let event_type = event_type.into();
        encode::check_event_type(&event_type)?;
        self.event_type = Some(event_type);
        Ok(self)
    }

    /// Sets the reader's reconnection time, in milliseconds.
    pub fn with_retry(mut self, ms: u64) -> Self {
        self.retry_ms = Some(ms);
        self
    }

    /// Appends the event and its closing blank line to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(id) = &self.id {
            encode::id(out, id).expect("checked by with_id");
        }
        if let Some(event_type) = &self.event_type {
            encode::event_type(out, event_type).expect("checked by with_type");
        }
        if let Some(ms) = self.retry_ms {
            encode::retry(out, ms);
        }
        encode::data(out, &self.data);
        encode::end(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_its_line() {
        let mut out = Vec::new();
        let event =
            Event::new("x").with_id("1").and_then(|event| event.with_type("t")).expect("no line ending in them");
        event.with_retry(5).encode(&mut out);
        assert_eq!(out, b"id: 1\nevent: t\nretry: 5\ndata: x\n\n");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_when_it_is_set() {
        let byte = b'\n';
        assert_eq!(Event::new("").with_id("a\n"), Err(EncodeError::ForbiddenByte { field: Field::Id, byte }));
        assert_eq!(Event::new("").with_type("\n"), Err(EncodeError::ForbiddenByte { field: Field::EventType, byte }));
        assert_eq!(Event::new("").with_type(""), Err(EncodeError::EmptyType));
    }
}
