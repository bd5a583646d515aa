use url::Url;

/// Whether a text is an absolute URL without credentials, written as the URL Standard writes it (section 4.5,
/// serializing). Of two such texts that are the same URL, both are the same: what begins a URL begins its text.
#[must_use]
pub fn is_canonical_url(text: &str) -> bool {
    // Most other topics are none at a glance.
    text.contains(':') && Url::parse(text).is_ok_and(|url| url.as_str() == text && !has_credentials(&url))
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_urls_are_told_from_other_topics() {
        for text in ["https://example.com/", "https://example.com/a?b#c", "urn:uuid:1", "http://[::1]:81/%20"] {
            assert!(is_canonical_url(text), "{text}");
        }
        let others = [
            "",
            "news",
            "/orders/1",
            "//example.com/",
            "https://example.com",
            "HTTPS://example.com/",
            "https://example.com:443/",
            "https://example.com/a/../b",
            "https://example.com/ ",
            "https://me@example.com/",
            "https://me:secret@example.com/",
            "https://EXAMPLE.com/",
            "a:b c\u{e9}",
            "http://",
        ];
        for text in others {
            assert!(!is_canonical_url(text), "{text}");
        }
    }
}
