use http::{HeaderValue, Uri};

use super::{Error, ServeFlags, Sources};

impl Sources<'_> {
    /// The origins whose pages may call.
    pub(super) fn origins(&self, flags: &ServeFlags) -> Result<Vec<HeaderValue>, Error> {
        let found = self.find(
            "cors-origins",
            flags.cors_origins.clone(),
            Vec::new(),
            |value| value.split(',').map(|it| origin(it.trim())).collect(),
            "must be origins as browsers send them, separated by commas: https://shop.example or \
             http://127.0.0.1:8080, in small letters, without a path and without the port that \
             the scheme has anyway",
        )?;
        Ok(found.value)
    }
}

/// An origin, if it is written as browsers write it: it is compared as text.
fn origin(text: &str) -> Option<HeaderValue> {
    let url: Uri = text.parse().ok()?;
    let scheme = url.scheme_str()?;
    let authority = url.authority()?.as_str();
    let usual_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let is_plain = text == format!("{scheme}://{authority}") && !text.contains('@');
    let is_small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_usual = url.port_u16() == Some(usual_port);
    (is_plain && is_small && !is_usual).then(|| HeaderValue::from_str(text).ok())?
}
