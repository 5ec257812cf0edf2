//! The TLS configuration, credentials and tokens of a node, which it reads from files.

use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Endpoint;
use wire::Bearer;

use super::source;
use crate::{
    access::{Credentials, jwt::Jwts, tokens::Tokens},
    layers::access::Access,
    listener::{Tls, files, tls},
    settings::{
        self, Token,
        table::{JWT_KEYS, TOKEN_FILE, TOKENS},
    },
};

/// The current contents of the files that authenticate a node and its clients.
#[derive(Debug)]
pub(super) struct Secured {
    /// The TLS configuration for new connections; `None` serves without TLS.
    pub(super) tls: Option<Tls>,
    /// Checks the credential of each call.
    pub(super) access: Access,
    /// The nodes whose events this node follows; empty if the node reads its own log.
    pub(super) nodes: Vec<Endpoint>,
    /// The token that this node sends to `nodes`.
    pub(super) bearer: Bearer,
}

impl Secured {
    /// Returns whether clients need TLS, and whether they need a credential.
    pub(super) fn demands(&self) -> (bool, bool) {
        (self.tls.is_some(), self.access.credentials().is_some())
    }

    /// Reads the files now, and after each change until `stop`. The runtime `checks` verifies
    /// signatures.
    ///
    /// # Errors
    /// [`settings::Error`] names the file that is unreadable or invalid.
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
                let tokens = tokens.map(|file| {
                    files::follow_text((TOKENS.name, file), Tokens::parse, stop, tasks)
                });
                let jwts = jwt.map(|jwt| {
                    let file = (JWT_KEYS.name, jwt.keys.clone());
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
                let file = (TOKEN_FILE.name, file.clone());
                Bearer::following(files::follow_text(file, make, stop, tasks)?)
            }
            Some(Token::Here(authorization)) => Bearer::of(authorization.clone()),
            Some(Token::File(_)) | None => Bearer::default(),
        };
        let nodes = settings.events.iter();
        let nodes = nodes.map(|url| caller.endpoint(source::remote(url.clone())));
        let mut nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
        if !nodes.is_empty() {
            // Query nodes that start together spread over the command nodes.
            let first = getrandom::u32().unwrap_or_default() as usize;
            let count = nodes.len();
            nodes.rotate_left(first % count);
        }
        Ok(Self {
            tls,
            access: Access::of(credentials),
            nodes,
            bearer,
        })
    }
}
