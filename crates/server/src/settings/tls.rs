use std::path::PathBuf;

use super::{Error, Found, ServeFlags, Sources};

/// How a server shows who it is, and keeps what is said between it and its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file with its certificate and those between that and a known authority, in PEM.
    pub cert: PathBuf,
    /// The file with the certificate's private key, in PEM.
    pub key: PathBuf,
    /// The file with the authorities of which each client must have a certificate; none: clients
    /// need no certificate.
    pub client_ca: Option<PathBuf>,
}

impl Sources<'_> {
    pub(super) fn tls(&self, flags: &ServeFlags) -> Result<Option<Tls>, Error> {
        let cert = self.path("tls-cert", flags.tls_cert.clone())?;
        let key = self.path("tls-key", flags.tls_key.clone())?;
        let client_ca = self.path("tls-client-ca", flags.tls_client_ca.clone())?;
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
