//! Reads the browser origins that may call by gRPC-Web.

use http::{HeaderValue, Uri};

use super::{Error, Sources, table::CORS_ORIGINS};

impl Sources<'_> {
    /// Reads the origins whose pages may call.
    pub(super) fn origins(&self) -> Result<Vec<HeaderValue>, Error> {
        let found = self.optional(
            CORS_ORIGINS,
            |value| value.split(',').map(|it| origin(it.trim())).collect(),
            "must be origins as browsers send them, separated by commas: https://shop.example, \
             http://127.0.0.1:8080, capacitor://localhost or null, in small letters, without a path and without the port that \
             the scheme has anyway",
        )?;
        Ok(found.value.unwrap_or_default())
    }
}

/// Parses an origin in the spelling of browsers, because the server compares origins as text.
fn origin(text: &str) -> Option<HeaderValue> {
    // Browsers send it for pages without an origin of their own, such as local files.
    if text == "null" {
        return Some(HeaderValue::from_static("null"));
    }
    let url: Uri = text.parse().ok()?;
    let scheme = url.scheme_str()?;
    let authority = url.authority()?.as_str();
    // Apps have schemes of their own, such as capacitor, without a usual port.
    let usual_port = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        // No page has an origin with these.
        "ws" | "wss" | "ftp" | "file" | "data" => return None,
        _ => None,
    };
    let is_plain = text == format!("{scheme}://{authority}") && !text.contains('@');
    let is_small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    // A written port is a number without leading zeros, and is not the scheme's default port.
    let port = url.port_u16();
    let is_port = match port {
        None => url.host() == Some(authority),
        Some(port) => Some(port) != usual_port && authority.ends_with(&format!(":{port}")),
    };
    (is_plain && is_small && is_port && !text.contains('*'))
        .then(|| HeaderValue::from_str(text).ok())?
}
