use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderName, Response};
use http_body_util::Full;

use super::Answer;

/// A file of the page, embedded in the binary.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    media_type: &'static str,
    content: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

macro_rules! asset {
    ($path:literal, $media_type:expr, $file:literal) => {
        Asset { path: $path, media_type: $media_type, content: include_str!(concat!("../../assets/", $file)) }
    };
}

const ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/assets/app.js", SCRIPT, "app.js"),
    asset!("/assets/sse.js", SCRIPT, "sse.js"),
    asset!("/assets/stream.js", SCRIPT, "stream.js"),
    asset!("/assets/view.js", SCRIPT, "view.js"),
    asset!("/assets/style.css", STYLE, "style.css"),
    asset!("/assets/favicon.svg", IMAGE, "favicon.svg"),
];

/// The file at this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    pub(super) fn to_response(&self) -> Answer {
        let mut response = Response::new(Full::new(Bytes::from_static(self.content.as_bytes())));
        let fixed: [(HeaderName, &'static str); 4] = [
            (header::CONTENT_TYPE, self.media_type),
            (header::CONTENT_SECURITY_POLICY, "default-src 'self'"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // The page changes with the binary, and names no version.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        for (name, value) in fixed {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for file in std::fs::read_dir(folder).expect("the assets") {
            let name = file.expect("a file").file_name().into_string().expect("a name");
            let is_served = [".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending));
            if is_served {
                assert!(asset(&format!("/assets/{name}")).is_some(), "{name}");
            }
        }
        let page = asset("/").expect("the page").to_response();
        assert_eq!(page.headers()["content-type"], HTML);
        assert_eq!(page.headers()["content-security-policy"], "default-src 'self'");
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    }

    #[test]
    fn whatever_the_page_names_is_there() {
        let page = asset("/").expect("the page").content;
        for part in page.split('"').filter(|part| part.starts_with("/assets/")) {
            assert!(asset(part).is_some(), "{part}");
        }
    }
}
