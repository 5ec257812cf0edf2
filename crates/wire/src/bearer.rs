//! The credential that a client sends with every call on a [`Connection`].

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A connection that sends a credential with every call, if the [`Bearer`] has one.
pub type Connection = InterceptedService<Channel, Bearer>;

/// Adds the `authorization` header to calls. The token may change while the connection is open.
#[derive(Debug, Clone, Default)]
pub struct Bearer(Option<watch::Receiver<Arc<Authorization>>>);

/// The value of an `authorization` header. The value is sensitive: `Debug` does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization(MetadataValue<Ascii>);

impl Authorization {
    /// Makes the value from a token, or from the contents of a file that holds only a token.
    /// Returns `None` if a header cannot hold the token.
    #[must_use]
    pub fn of(token: &[u8]) -> Option<Self> {
        let token = token.trim_ascii();
        let fits = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        let value = fits.then(|| [b"Bearer ", token].concat())?;
        let mut value = MetadataValue::try_from(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Bearer {
    /// Makes a bearer of one token.
    #[must_use]
    pub fn of(authorization: Authorization) -> Self {
        Self::following(watch::channel(Arc::new(authorization)).1)
    }

    /// Makes a bearer of the newest value in the channel.
    #[must_use]
    pub fn following(authorization: watch::Receiver<Arc<Authorization>>) -> Self {
        Self(Some(authorization))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(newest) = &self.0 {
            let Authorization(value) = &**newest.borrow();
            request
                .metadata_mut()
                .insert("authorization", value.clone());
        }
        Ok(request)
    }
}
