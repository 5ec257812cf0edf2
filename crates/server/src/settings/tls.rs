//! Reads the certificate files of the server.

use std::path::PathBuf;

use super::{
    Error, Found, Sources,
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
        let cert = self.path(TLS_CERT)?;
        let key = self.path(TLS_KEY)?;
        let client_ca = self.path(TLS_CLIENT_CA)?;
        match (cert, key, client_ca) {
            (
                Found {
                    value: Some(cert), ..
                },
                Found {
                    value: Some(key), ..
                },
                client_ca,
            ) => Ok(Some(Tls {
                cert,
                key,
                client_ca: client_ca.value,
            })),
            (cert, key, client_ca) => {
                cert.must_be_unset("needs tls-key")?;
                key.must_be_unset("needs tls-cert")?;
                client_ca.must_be_unset("needs tls-cert and tls-key")?;
                Ok(None)
            }
        }
    }
}
