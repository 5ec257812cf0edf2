//! The server that the subscriber follows, and the token that it sends.

use std::{error::Error, net::IpAddr, path::PathBuf};

use tokio::fs;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error as Unreachable, Uri},
};

/// The server to follow, and the token to send.
pub(crate) struct Source {
    server: Endpoint,
    token: Option<Token>,
}

/// A token, or the file that holds it.
pub(crate) enum Token {
    Here(String),
    /// Read for each stream, so that the token can be renewed.
    File(PathBuf),
}

impl Source {
    /// Prepares the connection to `url`. The server's certificate must come from `authority`, or by
    /// default from an authority that the system trusts.
    ///
    /// # Errors
    /// Fails if the URL or the authority is invalid, or if a token would cross a network
    /// unencrypted.
    pub(crate) fn new(
        url: String,
        token: Option<Token>,
        authority: Option<Certificate>,
    ) -> Result<Self, Box<dyn Error>> {
        let mut server = Endpoint::from_shared(url)?;
        if server.uri().scheme_str() == Some("https") {
            let tls = ClientTlsConfig::new();
            server = server.tls_config(match authority {
                Some(authority) => tls.ca_certificate(authority),
                None => tls.with_native_roots(),
            })?;
        } else if token.is_some() && !is_loopback(server.uri()) {
            let why = format!(
                "a token is not sent in clear to {}: use https://",
                server.uri()
            );
            return Err(why.into());
        }
        Ok(Self { server, token })
    }

    pub(crate) async fn connect(&self) -> Result<Channel, Unreachable> {
        self.server.connect().await
    }

    /// Returns the present value of the `authorization` header, if there is a token.
    pub(crate) async fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, String> {
        let token = match &self.token {
            None => return Ok(None),
            Some(Token::Here(token)) => token.clone(),
            Some(Token::File(file)) => {
                let read = fs::read_to_string(file).await;
                read.map_err(|why| format!("{}: {why}", file.display()))?
            }
        };
        let value = MetadataValue::try_from(format!("Bearer {}", token.trim()));
        let mut value = value.map_err(|_| "the token has characters that no token has")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Returns whether a rejected token may be another one at the next stream.
    pub(crate) fn token_may_change(&self) -> bool {
        matches!(self.token, Some(Token::File(_)))
    }
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
