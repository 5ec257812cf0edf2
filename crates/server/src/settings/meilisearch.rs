//! Reads the URL and the key of Meilisearch.

use std::fmt;

use http::Uri;

use super::{
    Error, Sources, is_here,
    table::{MEILISEARCH_KEY, MEILISEARCH_URL},
};

/// The address of a Meilisearch and its key. `Debug` omits the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Meilisearch {
    /// The base URL, without a trailing slash.
    pub url: String,
    /// The API key. `None` sends no key.
    pub key: Option<String>,
}

impl fmt::Debug for Meilisearch {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_tuple("Meilisearch").field(&self.url).finish()
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
            })),
            (None, Some((origin, _))) => Err(Error::Wrong {
                origin,
                value: "...".to_owned(),
                rule: "needs meilisearch-url".to_owned(),
            }),
            (None, None) => Ok(None),
        }
    }
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
