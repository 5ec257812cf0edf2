//! The built files of the console, which `console/` holds and `npm run build` makes there.

use std::{io::Write as _, sync::LazyLock};

use axum::body::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};
use tonic::body::Body;

use super::whole;

/// The path, content type and content of each file.
const FILES: [(&str, &str, &[u8]); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_bytes!("../../../../console/dist/index.html"),
    ),
    (
        "/app.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../../console/dist/app.js"),
    ),
    (
        "/app.css",
        "text/css; charset=utf-8",
        include_bytes!("../../../../console/dist/app.css"),
    ),
    (
        "/worker.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../../../console/dist/worker.js"),
    ),
    (
        "/icon.svg",
        "image/svg+xml",
        include_bytes!("../../../../console/dist/icon.svg"),
    ),
];

/// The first parts of the paths at which the page shows its views.
const VIEWS: [&str; 7] = [
    "orders",
    "new",
    "customers",
    "products",
    "overview",
    "events",
    "operations",
];

static PREPARED: LazyLock<Vec<File>> = LazyLock::new(|| FILES.map(File::new).into());

/// A file, ready to be sent. Clones of its bytes take no memory.
#[derive(Debug)]
pub(super) struct File {
    path: &'static str,
    content_type: &'static str,
    content: Bytes,
    /// `None` if compression failed, which needs memory alone.
    compressed: Option<Bytes>,
    /// Names the content, so that a browser asks again and gets nothing while it is the same.
    etag: HeaderValue,
}

/// Returns the file at this path. Every view is the same page.
pub(super) fn at(path: &str) -> Option<&'static File> {
    let first = path.split('/').nth(1);
    let is_view = first.is_some_and(|first| VIEWS.contains(&first));
    let path = if is_view { "/" } else { path };
    PREPARED.iter().find(|file| file.path == path)
}

impl File {
    fn new((path, content_type, content): (&'static str, &'static str, &'static [u8])) -> Self {
        let digest = hex::encode(&Sha256::digest(content)[..16]);
        let etag = HeaderValue::from_str(&format!("\"{digest}\""));
        Self {
            path,
            content_type,
            content: Bytes::from_static(content),
            compressed: compressed(content),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        }
    }

    /// Answers a request with these headers.
    pub(super) fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let is_known = request.get(header::IF_NONE_MATCH) == Some(&self.etag);
        let takes_gzip = request
            .get(header::ACCEPT_ENCODING)
            .and_then(|accepted| accepted.to_str().ok())
            .is_some_and(|accepted| accepted.split(',').any(|one| one.trim() == "gzip"));
        let compressed = self.compressed.as_ref().filter(|_| takes_gzip);
        let mut answer = if is_known {
            whole(Bytes::new())
        } else {
            whole(compressed.unwrap_or(&self.content).clone())
        };
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if is_known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        let content_type = HeaderValue::from_static(self.content_type);
        headers.insert(header::CONTENT_TYPE, content_type);
        if compressed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

fn compressed(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_less_than_300_kb_compressed() {
        let sizes = PREPARED.iter().map(|file| {
            let compressed = file.compressed.as_ref().unwrap();
            assert!(compressed.len() < file.content.len(), "{}", file.path);
            compressed.len()
        });
        let all: usize = sizes.sum();
        assert!(all < 300_000, "{all}");
    }

    #[test]
    fn the_page_names_no_other_host_and_has_no_inline_script() {
        let page = str::from_utf8(FILES[0].2).unwrap();
        assert!(!page.contains("://"), "{page}");
        for script in page.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').unwrap();
            assert!(
                tag.contains("src=\"") && rest.starts_with("</script>"),
                "{page}"
            );
        }
        assert!(
            !page.contains("<style") && !page.contains(" style="),
            "{page}"
        );
    }
}
