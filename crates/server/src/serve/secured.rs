use std::sync::Arc;

use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::Bearer;

use super::{files, tls};
use crate::{
    access::{Access, Credentials},
    settings::{self, Caller, Token},
};

/// What the files say with which a node and its clients convince each other, at any time.
#[derive(Debug)]
pub(super) struct Secured {
    /// What new connections meet; none: no TLS.
    pub(super) tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Who may call what.
    pub(super) access: Access,
    /// What the node shows to others.
    pub(super) bearer: Bearer,
    /// How it connects to them.
    pub(super) caller: Caller,
}

impl Secured {
    /// Reads the files, and again whenever they change, until `stop`.
    ///
    /// # Errors
    /// One that cannot be read, or is wrong.
    pub(super) fn read(
        settings: &settings::Serve,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, settings::Error> {
        let tls = settings.tls.clone();
        let tls = tls.map(|tls| tls::follow(tls, stop, tasks)).transpose()?;
        let credentials = settings.credentials.clone();
        let credentials = credentials
            .map(|credentials| follow_credentials(credentials, stop, tasks))
            .transpose()?;
        let bearer = match &settings.caller.token {
            None => Bearer::default(),
            Some(Token::Here(authorization)) => Bearer::of(authorization.clone()),
            Some(Token::File(file)) => {
                let made = |files: &[Vec<u8>]| Token::in_file(&files[0]).map_err(|why| (0, why));
                let named = vec![("token-file", file.clone())];
                Bearer::following(files::follow(named, made, stop, tasks)?)
            }
        };
        Ok(Self {
            tls,
            access: Access::of(credentials),
            bearer,
            caller: settings.caller.clone(),
        })
    }
}

fn follow_credentials(
    settings: settings::Credentials,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Arc<Credentials>>, settings::Error> {
    let settings::Credentials { tokens, jwt } = settings;
    let keys = jwt.as_ref().map(|jwt| jwt.keys.clone());
    let has_tokens = tokens.is_some();
    let named = tokens.map(|file| ("tokens", file)).into_iter();
    let named = named.chain(keys.map(|file| ("jwt-keys", file)));
    let made = move |files: &[Vec<u8>]| {
        let text = |index: usize| {
            let text = std::str::from_utf8(&files[index]);
            text.map_err(|_| (index, "must be UTF-8".to_owned()))
        };
        let mut credentials = Credentials::default();
        if has_tokens {
            let made = credentials.with_tokens(text(0)?);
            credentials = made.map_err(|why| (0, why))?;
        }
        if let Some(jwt) = &jwt {
            let last = files.len() - 1;
            let made = credentials.with_jwts(text(last)?, jwt);
            credentials = made.map_err(|why| (last, why))?;
        }
        Ok(credentials)
    };
    files::follow(named.collect(), made, stop, tasks)
}
