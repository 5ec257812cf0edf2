//! Reads the token and the TLS files that a client sends to servers.

use std::{
    cmp::Ordering,
    error::Error as _,
    fs,
    path::{Path, PathBuf},
};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use wire::Authorization;

use super::{
    Error, Sources, is_here, pem,
    table::{INSECURE, Setting, TLS_CA, TLS_CLIENT_CERT, TLS_CLIENT_KEY, TOKEN, TOKEN_FILE},
};

/// The token and certificate to send to servers, and the authorities to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The token of each call. `None` sends no `authorization` header.
    pub token: Option<Token>,
    /// The file of the authorities that may issue server certificates. `None` trusts the system's
    /// authorities.
    pub ca: Option<PathBuf>,
    /// The files of the client certificate and its private key, in this order.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the operator accepts plain text beyond this machine. A client may then send its
    /// token without TLS, and a node may listen without TLS and credentials.
    pub insecure: bool,
}

/// The source of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// The token itself, which stays the same for the life of the process.
    Here(Authorization),
    /// A file, which each [`Token::authorization`] reads, so that operators can replace the token.
    File(PathBuf),
}

impl Caller {
    /// Adds TLS to an endpoint whose scheme is `https`. Returns any other endpoint unchanged.
    ///
    /// # Errors
    /// - [`Error::InClear`] when a token would leave this machine without TLS.
    /// - [`Error::Unusable`] when a certificate or key file cannot be read or parsed.
    /// - [`Error::Tls`] when tonic rejects the certificates.
    pub fn endpoint(&self, endpoint: Endpoint) -> Result<Endpoint, Error> {
        if endpoint.uri().scheme_str() != Some("https") {
            return match self.token {
                Some(_) if !is_here(endpoint.uri()) && !self.insecure => Err(Error::InClear {
                    server: endpoint.uri().to_string(),
                }),
                _ => Ok(endpoint),
            };
        }
        let mut tls = ClientTlsConfig::new();
        let unusable = |setting: Setting, path: &Path, why: String| Error::Unusable {
            setting: setting.name,
            path: path.to_owned(),
            why,
        };
        let read = |setting, path: &Path| {
            fs::read(path).map_err(|error| unusable(setting, path, error.to_string()))
        };
        tls = match &self.ca {
            None => tls.with_native_roots(),
            Some(file) => {
                let pem = read(TLS_CA, file)?;
                pem::certificates(&pem).map_err(|why| unusable(TLS_CA, file, why))?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
        };
        if let Some((cert, key)) = &self.identity {
            let cert_pem = read(TLS_CLIENT_CERT, cert)?;
            pem::certificates(&cert_pem).map_err(|why| unusable(TLS_CLIENT_CERT, cert, why))?;
            let key_pem = read(TLS_CLIENT_KEY, key)?;
            pem::key(&key_pem).map_err(|why| unusable(TLS_CLIENT_KEY, key, why))?;
            tls = tls.identity(Identity::from_pem(cert_pem, key_pem));
        }
        endpoint.tls_config(tls).map_err(|error| Error::Tls {
            why: error
                .source()
                .map_or(error.to_string(), ToString::to_string),
        })
    }
}

impl Token {
    /// Parses the contents of a token file.
    ///
    /// # Errors
    /// The rule that the contents break, when the file holds anything but one token.
    pub fn in_file(contents: &[u8]) -> Result<Authorization, String> {
        Authorization::of(contents).ok_or_else(|| "must hold a token, and nothing else".to_owned())
    }

    /// Returns the `authorization` header of the next call, and reads the token file for it.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the token file cannot be read or does not hold a token.
    pub fn authorization(&self) -> Result<Authorization, Error> {
        match self {
            Self::Here(authorization) => Ok(authorization.clone()),
            Self::File(path) => {
                let contents = fs::read(path).map_err(|error| error.to_string());
                contents
                    .and_then(|it| Self::in_file(&it))
                    .map_err(|why| Error::Unusable {
                        setting: TOKEN_FILE.name,
                        path: path.clone(),
                        why,
                    })
            }
        }
    }
}

impl Sources<'_> {
    /// Reads whether the operator accepts plain text beyond this machine.
    fn insecure(&self) -> Result<bool, Error> {
        let parse = |value: &str| value.parse().ok();
        let found = self.optional(INSECURE, parse, "must be true or false")?;
        Ok(found.value.unwrap_or(false))
    }

    pub(super) fn caller(&self) -> Result<Caller, Error> {
        let text = self.optional(
            TOKEN,
            |value| Authorization::of(value.as_bytes()),
            "must be letters, digits and signs, without spaces",
        );
        // The error omits the value, because an invalid token may still be a secret.
        let text = text.map_err(Error::without_value)?;
        let file = self.path(TOKEN_FILE)?;
        let token = match text.rank().cmp(&file.rank()) {
            Ordering::Less => text.value.map(Token::Here),
            Ordering::Greater => file.value.map(Token::File),
            Ordering::Equal => {
                file.must_be_unset("is one too many: there is token beside it")?;
                None
            }
        };
        let ca = self.path(TLS_CA)?.value;
        Ok(Caller {
            token,
            ca,
            identity: self.paths(TLS_CLIENT_CERT, TLS_CLIENT_KEY)?,
            insecure: self.insecure()?,
        })
    }
}
