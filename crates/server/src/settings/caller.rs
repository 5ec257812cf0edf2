//! Reads the token and the TLS files that a client sends to servers.

use std::{
    cmp::Ordering,
    error::Error as _,
    fs,
    path::{Path, PathBuf},
};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use wire::Authorization;

use super::{Error, Found, Sources, is_here, pem};

/// The flags of every command that calls a server, unparsed.
#[derive(Debug, Default, clap::Args)]
pub struct CallerFlags {
    /// Send this token. Other users of the machine can see a flag: prefer the environment or a file
    /// [env: ORDERLOG_TOKEN] [default: none]
    #[arg(long, value_name = "TOKEN", global = true)]
    pub(super) token: Option<String>,
    /// Send the token in this file, which holds nothing else [env: ORDERLOG_TOKEN_FILE]
    /// [default: none]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<String>,
    /// Trust server certificates that these authorities have issued, in PEM [env: ORDERLOG_TLS_CA]
    /// [default: those of the system]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) tls_ca: Option<String>,
    /// Show this certificate to servers that require one, in PEM [env: ORDERLOG_TLS_CLIENT_CERT]
    /// [default: none]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) tls_client_cert: Option<String>,
    /// Use this private key for --tls-client-cert, in PEM [env: ORDERLOG_TLS_CLIENT_KEY]
    /// [default: none]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) tls_client_key: Option<String>,
    /// Serve beyond this machine, and send tokens there, without TLS and credentials
    /// [env: ORDERLOG_INSECURE] [default: off]
    #[arg(long, global = true)]
    pub(super) insecure: bool,
}

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
        let unusable = |setting, path: &Path, why: String| Error::Unusable {
            setting,
            path: path.to_owned(),
            why,
        };
        let read = |setting, path: &Path| {
            fs::read(path).map_err(|error| unusable(setting, path, error.to_string()))
        };
        tls = match &self.ca {
            None => tls.with_native_roots(),
            Some(file) => {
                let pem = read("tls-ca", file)?;
                pem::certificates(&pem).map_err(|why| unusable("tls-ca", file, why))?;
                tls.ca_certificate(Certificate::from_pem(pem))
            }
        };
        if let Some((cert, key)) = &self.identity {
            let cert_pem = read("tls-client-cert", cert)?;
            pem::certificates(&cert_pem).map_err(|why| unusable("tls-client-cert", cert, why))?;
            let key_pem = read("tls-client-key", key)?;
            pem::key(&key_pem).map_err(|why| unusable("tls-client-key", key, why))?;
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
                        setting: "token-file",
                        path: path.clone(),
                        why,
                    })
            }
        }
    }
}

impl Sources<'_> {
    /// Reads whether the operator accepts plain text beyond this machine.
    fn insecure(&self, flags: &CallerFlags) -> Result<bool, Error> {
        let found = self.find(
            "insecure",
            flags.insecure.then(|| "true".to_owned()),
            false,
            |value| value.parse().ok(),
            "must be true or false",
        )?;
        Ok(found.value)
    }

    pub(super) fn caller(&self, flags: &CallerFlags) -> Result<Caller, Error> {
        let text = self.find(
            "token",
            flags.token.clone(),
            None,
            |value| Authorization::of(value.as_bytes()).map(Some),
            "must be letters, digits and signs, without spaces",
        );
        // The error omits the value, because an invalid token may still be a secret.
        let text = text.map_err(Error::without_value)?;
        let file = self.path("token-file", flags.token_file.clone())?;
        let token = match text.rank().cmp(&file.rank()) {
            Ordering::Less => text.value.map(Token::Here),
            Ordering::Greater => file.value.map(Token::File),
            Ordering::Equal => {
                file.must_be_unset("is one too many: there is token beside it")?;
                None
            }
        };
        let ca = self.path("tls-ca", flags.tls_ca.clone())?.value;
        let cert = self.path("tls-client-cert", flags.tls_client_cert.clone())?;
        let key = self.path("tls-client-key", flags.tls_client_key.clone())?;
        let identity = match (cert, key) {
            (
                Found {
                    value: Some(cert), ..
                },
                Found {
                    value: Some(key), ..
                },
            ) => Some((cert, key)),
            (cert, key) => {
                cert.must_be_unset("needs tls-client-key")?;
                key.must_be_unset("needs tls-client-cert")?;
                None
            }
        };
        Ok(Caller {
            token,
            ca,
            identity,
            insecure: self.insecure(flags)?,
        })
    }
}
