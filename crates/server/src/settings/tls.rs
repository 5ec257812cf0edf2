//! Reads the certificate files of the server.

use std::path::PathBuf;

use super::{
    Error, Sources,
    table::{TLS_CERT, TLS_CLIENT_CA, TLS_KEY},
};

/// The files that a server needs for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file of the server's certificate and the intermediate certificates, in PEM.
    pub cert: PathBuf,
    /// The file of the certificate's private key, in PEM.
    pub key: PathBuf,
    /// The file of the authorities that issue client certificates, in PEM. `None` requires no
    /// client certificate.
    pub client_ca: Option<PathBuf>,
}

impl Sources<'_> {
    pub(super) fn tls(&self) -> Result<Option<Tls>, Error> {
        let client_ca = self.path(TLS_CLIENT_CA)?;
        let Some((cert, key)) = self.paths(TLS_CERT, TLS_KEY)? else {
            client_ca.must_be_unset("needs tls-cert and tls-key")?;
            return Ok(None);
        };
        Ok(Some(Tls {
            cert,
            key,
            client_ca: client_ca.value,
        }))
    }
}
