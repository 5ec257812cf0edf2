//! Reads the URL, the key and the index name of Meilisearch.

use std::fmt;

use http::Uri;

use super::{
    Error, Sources, is_here,
    table::{MEILISEARCH_INDEX, MEILISEARCH_KEY, MEILISEARCH_URL},
};

/// Bounds the name of the index in bytes. Meilisearch accepts longer names, also with the suffix of
/// another generation.
const MAX_INDEX_NAME_LENGTH: usize = 64;

/// A Meilisearch and the index in it. `Debug` omits the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Meilisearch {
    /// The base URL, without a trailing slash.
    pub url: String,
    /// The API key. `None` sends no key.
    pub key: Option<String>,
    /// The name of the live index.
    pub index: String,
}

impl fmt::Debug for Meilisearch {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Meilisearch")
            .field("url", &self.url)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Sources<'_> {
    /// Reads the Meilisearch to use. Without `insecure`, a key goes beyond this machine by https
    /// only.
    pub(super) fn meilisearch(&self, insecure: bool) -> Result<Option<Meilisearch>, Error> {
        let url = self.optional(
            MEILISEARCH_URL,
            meilisearch_url,
            "must be a URL such as http://127.0.0.1:7700, without a user, a password or a query",
        );
        // The error omits the value, because an invalid URL may contain a password.
        let url = url.map_err(Error::without_value)?;
        let key = self.optional(
            MEILISEARCH_KEY,
            |value| {
                let fits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
                fits.then(|| value.to_owned())
            },
            "must be letters, digits and signs, without spaces",
        );
        // The error omits the value, because an invalid key may still be a secret.
        let key = key.map_err(Error::without_value)?;
        let index = self.find(
            MEILISEARCH_INDEX,
            |value| is_index_name(value).then(|| value.to_owned()),
            "must match [A-Za-z0-9_-]{1,64}",
        )?;
        match (url.value, key.given) {
            (Some(url), Some((origin, _))) if !insecure && is_in_clear(&url) => Err(Error::Wrong {
                origin,
                value: "...".to_owned(),
                rule:
                    "is not sent beyond this machine without TLS: use https in meilisearch-url, or \
                       set insecure to allow it"
                        .to_owned(),
            }),
            (Some(url), _) => Ok(Some(Meilisearch {
                url,
                key: key.value,
                index: index.value,
            })),
            (None, Some((origin, _))) => Err(Error::Wrong {
                origin,
                value: "...".to_owned(),
                rule: "needs meilisearch-url".to_owned(),
            }),
            (None, None) => index.must_be_unset("needs meilisearch-url").map(|()| None),
        }
    }
}

/// Returns whether Meilisearch accepts this name of an index.
fn is_index_name(name: &str) -> bool {
    let is_permitted = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_INDEX_NAME_LENGTH).contains(&name.len()) && name.bytes().all(is_permitted)
}

/// Returns whether requests to this URL leave the machine without TLS.
fn is_in_clear(url: &str) -> bool {
    let url: Uri = url.parse().unwrap_or_default();
    url.scheme_str() != Some("https") && !is_here(&url)
}

/// Parses the URL of a Meilisearch and removes trailing slashes. The URL may have a path.
fn meilisearch_url(url: &str) -> Option<String> {
    let parsed: Uri = url.parse().ok()?;
    let is_plain = !url.contains(['@', '?', '#']) && parsed.host().is_some();
    let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
    (is_http && is_plain).then(|| url.trim_end_matches('/').to_owned())
}
