use super::payload::Payload;

/// Text with places to be filled in: `{topic}`, `{event}`, `{payload}`, `{connection}`, `{token}`. Any other brace is a
/// brace, so that JSON may be written as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Topic,
    Event,
    Payload,
    Connection,
    Token,
}

const PLACES: [(&str, Place); 5] = [
    ("{topic}", Place::Topic),
    ("{event}", Place::Event),
    ("{payload}", Place::Payload),
    ("{connection}", Place::Connection),
    ("{token}", Place::Token),
];

/// What is filled in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Values<'a> {
    pub(crate) topic: u32,
    /// The number of the event, of all that are sent.
    pub(crate) event: u64,
    pub(crate) payload: &'a [u8],
    /// The number of the subscriber.
    pub(crate) connection: usize,
    /// Of the subscriber.
    pub(crate) token: &'a str,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Template {
        let (mut parts, mut rest) = (Vec::new(), text);
        let mut literal = String::new();
        while let Some(first) = rest.chars().next() {
            if let Some((name, place)) = PLACES.iter().find(|(name, _)| rest.starts_with(name)) {
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Place(*place));
                rest = &rest[name.len()..];
            } else {
                literal.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Template { parts }
    }

    pub(crate) fn has(&self, place: Place) -> bool {
        self.parts.contains(&Part::Place(place))
    }

    /// Whether behind the payload something stands that might be more of it.
    pub(crate) fn goes_on_behind_payload(&self) -> bool {
        self.parts.windows(2).any(|parts| match parts {
            [Part::Place(Place::Payload), Part::Text(text)] => text.bytes().next().is_some_and(Payload::may_hold),
            [Part::Place(Place::Payload), Part::Place(_)] => true,
            _ => false,
        })
    }

    /// Appends the text with everything filled in.
    pub(crate) fn write(&self, values: &Values<'_>, to: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => to.extend_from_slice(text.as_bytes()),
                Part::Place(Place::Topic) => to.extend_from_slice(values.topic.to_string().as_bytes()),
                Part::Place(Place::Event) => to.extend_from_slice(values.event.to_string().as_bytes()),
                Part::Place(Place::Token) => to.extend_from_slice(values.token.as_bytes()),
                Part::Place(Place::Payload) => to.extend_from_slice(values.payload),
                Part::Place(Place::Connection) => to.extend_from_slice(values.connection.to_string().as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_a_payload_is_none_of_it() {
        for (text, goes_on) in [
            ("{payload}", false),
            (r#"{"data":"{payload}","n":{event}}"#, false),
            ("{payload}&x", false),
            ("{payload}x", true),
            ("{payload}{event}", true),
        ] {
            assert_eq!(Template::parse(text).goes_on_behind_payload(), goes_on, "{text}");
        }
    }

    #[test]
    fn places_are_filled_in_and_braces_are_braces() {
        let template = Template::parse(r#"{"topic":"t-{topic}","n":{event},"é":"{payload}"}{connection}{token}{top"#);
        assert!(template.has(Place::Payload) && !Template::parse("{ payload}").has(Place::Payload));
        let mut text = Vec::new();
        template.write(&Values { topic: 7, event: 12, payload: b"abc", connection: 3, token: "xyz" }, &mut text);
        assert_eq!(String::from_utf8_lossy(&text), r#"{"topic":"t-7","n":12,"é":"abc"}3xyz{top"#);
    }
}
