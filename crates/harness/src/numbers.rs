use serde_json::json;
use tidewire_sim::{Filter, Publication};

/// Every so many events one is large.
const LARGE_EVERY: usize = 10;
/// How large, in bytes.
const LARGE_BYTES: usize = 256 * 1024;
/// A large one has lines of this many bytes.
const LINE_BYTES: usize = 8 * 1024;

/// Numbered events: what number `n` holds, always the same.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// The one topic of them all.
    pub topic: String,
    /// Their type.
    pub event_type: String,
    /// How many there are.
    pub count: usize,
}

impl Numbers {
    /// So many events.
    #[must_use]
    pub fn new(count: usize) -> Numbers {
        Numbers { topic: "numbers".to_owned(), event_type: "number".to_owned(), count }
    }

    /// What number `n` says: every tenth 256 KiB in lines.
    #[must_use]
    pub fn content(&self, n: usize) -> String {
        let mut content = format!("number {n}");
        if n.is_multiple_of(LARGE_EVERY) {
            let filler = format!(" {n} \u{1f30a} and so on: x").repeat(LINE_BYTES / 8);
            while content.len() < LARGE_BYTES {
                let line = filler.char_indices().take_while(|(at, _)| *at < LINE_BYTES).last().map_or(0, |(at, _)| at);
                content.push('\n');
                content.push_str(&filler[..line]);
            }
            let end = (0..=LARGE_BYTES).rev().find(|end| content.is_char_boundary(*end)).unwrap_or(0);
            content.truncate(end);
        }
        content
    }

    /// The request's body that publishes number `n`.
    #[must_use]
    pub fn body(&self, n: usize) -> Vec<u8> {
        json!({"topic": self.topic, "type": self.event_type, "id": self.id(n), "data": self.content(n)})
            .to_string()
            .into_bytes()
    }

    /// Number `n` as the checker has it.
    #[must_use]
    pub fn publication(&self, n: usize) -> Publication {
        Publication::new([self.topic.as_str()], &self.content(n)).event_type(&self.event_type).publisher_id(&self.id(n))
    }

    /// Who asks for all of them.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter::topics([self.topic.as_str()])
    }

    fn id(&self, n: usize) -> String {
        format!("n-{n}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_is_large() {
        let numbers = Numbers::new(20);
        for n in 0..20 {
            let length = numbers.content(n).len();
            assert!(if n % 10 == 0 { (LARGE_BYTES - 4..=LARGE_BYTES).contains(&length) } else { length < 20 });
        }
        assert_eq!(numbers.content(10), numbers.content(10));
        assert_ne!(numbers.publication(10).content, numbers.publication(0).content);
    }
}
