use std::sync::Arc;

use tokio::sync::watch;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A connection whose calls show a credential, if there is one.
pub type Connection = InterceptedService<Channel, Bearer>;

/// What calls show: a token, which may change while the connection lasts.
#[derive(Debug, Clone, Default)]
pub struct Bearer(Option<watch::Receiver<Arc<Authorization>>>);

/// The value of an `authorization` header. It is not told in logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization(MetadataValue<Ascii>);

impl Authorization {
    /// That of a token, or of a file with a token and nothing else. `None` if a header cannot hold
    /// it.
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
    /// Of one token.
    #[must_use]
    pub fn of(authorization: Authorization) -> Self {
        Self::following(watch::channel(Arc::new(authorization)).1)
    }

    /// Of whichever is the newest.
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
