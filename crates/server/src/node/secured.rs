use std::sync::Arc;

use tokio::{runtime::Handle, sync::watch};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Endpoint;
use wire::Bearer;

use super::source;
use crate::{
    access::{Credentials, jwt::Jwts, tokens::Tokens},
    layers::access::Access,
    listener::{files, tls},
    settings::{self, Token},
};

/// What the files say with which a node and its clients convince each other, at any time.
#[derive(Debug)]
pub(super) struct Secured {
    /// What new connections meet; none: no TLS.
    pub(super) tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Who may call what.
    pub(super) access: Access,
    /// The nodes whose events it follows, if not its own.
    pub(super) nodes: Vec<Endpoint>,
    /// What these are shown.
    pub(super) bearer: Bearer,
}

impl Secured {
    /// Reads the files, and again whenever they change, until `stop`. Signatures are checked on
    /// `checks`.
    ///
    /// # Errors
    /// One that cannot be read, or is wrong.
    pub(super) fn read(
        settings: &settings::Serve,
        checks: &Handle,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, settings::Error> {
        let tls = settings.tls.clone();
        let tls = tls.map(|tls| tls::follow(tls, stop, tasks)).transpose()?;
        let credentials = match settings.credentials.clone() {
            None => None,
            Some(settings::Credentials { tokens, jwt }) => {
                let tokens = tokens
                    .map(|file| files::follow_text(("tokens", file), Tokens::parse, stop, tasks));
                let jwts = jwt.map(|jwt| {
                    let file = ("jwt-keys", jwt.keys.clone());
                    let parse = move |text: &str| Jwts::parse(text, &jwt);
                    files::follow_text(file, parse, stop, tasks)
                });
                Some(Credentials::new(
                    tokens.transpose()?,
                    jwts.transpose()?,
                    checks.clone(),
                ))
            }
        };
        let caller = &settings.caller;
        let bearer = match &caller.token {
            Some(Token::File(file)) if !settings.events.is_empty() => {
                let make = |text: &str| Token::in_file(text.as_bytes());
                let file = ("token-file", file.clone());
                Bearer::following(files::follow_text(file, make, stop, tasks)?)
            }
            Some(Token::Here(authorization)) => Bearer::of(authorization.clone()),
            Some(Token::File(_)) | None => Bearer::default(),
        };
        let nodes = settings.events.iter();
        let nodes = nodes.map(|url| caller.endpoint(source::remote(url.clone())));
        Ok(Self {
            tls,
            access: Access::of(credentials),
            nodes: nodes.collect::<Result<_, _>>()?,
            bearer,
        })
    }
}
