//! The TLS configuration of a listener: its certificate, and the client certificates that it
//! requires.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::files::{self, Wrong};
use crate::settings::{
    self, Tls, pem,
    table::{TLS_CERT, TLS_CLIENT_CA, TLS_KEY},
};

/// The certificate of a listener, and the authorities of its clients.
#[derive(Debug)]
pub(crate) struct Certificates {
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Certificates {
    /// Returns the configuration of a handshake.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Returns whether a new connection with these client certificates would be accepted.
    pub(super) fn trusts(&self, shown: &[CertificateDer<'_>]) -> bool {
        let Some(clients) = &self.clients else {
            return true;
        };
        let Some((own, intermediates)) = shown.split_first() else {
            return false;
        };
        let verified = clients.verify_client_cert(own, intermediates, UnixTime::now());
        verified.is_ok()
    }
}

/// Reads certificates and keys, and follows changes of their files for new connections.
///
/// # Errors
/// [`settings::Error::Unusable`] if a file is unreadable or invalid.
pub(crate) fn follow(
    settings: Tls,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Arc<Certificates>>, settings::Error> {
    let Tls {
        cert,
        key,
        client_ca,
    } = settings;
    let mut named = vec![(TLS_CERT.name, cert), (TLS_KEY.name, key)];
    named.extend(client_ca.map(|file| (TLS_CLIENT_CA.name, file)));
    files::follow(named, certificates, stop, tasks)
}

fn certificates(files: &[Vec<u8>]) -> Result<Certificates, Wrong> {
    let wrong = |index: usize| move |why: String| (index, why);
    let cert = pem::certificates(&files[0]).map_err(wrong(0))?;
    let key = pem::key(&files[1]).map_err(wrong(1))?;
    let provider = Arc::new(ring::default_provider());
    let clients = match files.get(2) {
        None => None,
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for cert in pem::certificates(file).map_err(wrong(2))? {
                roots.add(cert).map_err(|error| (2, error.to_string()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| (2, error.to_string()))?;
            Some(verifier)
        }
    };
    let required = clients.clone();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| (0, error.to_string()))?
        .with_client_cert_verifier(required.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_single_cert(cert, key)
        .map_err(|error| (1, format!("does not fit tls-cert: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificates {
        config: Arc::new(config),
        clients,
    })
}
