//! Connects to the server of a database that takes writes, and keeps connections for reuse.
//!
//! A session gets its settings by statements after connecting. Poolers such as PgBouncer refuse
//! most settings of a startup message.

use std::{io, time::Duration};

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleResult};
use sqlx::{
    Acquire as _, ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::{
    runtime::Handle,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use super::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, IDLE_TIMEOUT, STATEMENT_TIMEOUT,
    database::{Database, OpenError},
    in_time, passfile,
    url::Server,
};
use crate::Error;

/// A pooled connection is checked before its use. The check may take 1 s; then the pool connects
/// anew.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// The purpose of a connection, which decides its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Appends: statements have timeouts and find rows by index.
    Append,
    /// Reads of a node. Commits skip the flush, because reads write nothing durable.
    Read,
    /// Migrations and copies, which wait or take long.
    Maintain,
    /// Exports, which take long and do not write.
    Export,
}

impl Purpose {
    fn settings(self) -> Vec<(&'static str, String)> {
        let limits = [
            ("statement_timeout", milliseconds(STATEMENT_TIMEOUT)),
            (
                "idle_in_transaction_session_timeout",
                milliseconds(IDLE_TIMEOUT),
            ),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("jit", "off".to_owned()),
        ];
        let off = |name| (name, "off".to_owned());
        match self {
            // Each statement finds rows by their keys. While the tables are small or not analysed,
            // the planner would choose to scan them, and keep that plan.
            Self::Append => {
                let scans = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin"];
                limits.into_iter().chain(scans.map(off)).collect()
            }
            Self::Read => {
                let flush = [off("synchronous_commit")];
                limits.into_iter().chain(flush).collect()
            }
            Self::Maintain | Self::Export => {
                vec![("client_min_messages", "warning".to_owned())]
            }
        }
    }
}

impl Database {
    /// Connects to the server that takes writes. Tries all servers at once, so that a server that
    /// does not answer delays nothing.
    ///
    /// # Errors
    /// [`OpenError::Unusable`], [`OpenError::Silent`] or [`OpenError::ReadOnly`] of the one server,
    /// or [`OpenError::NoServer`] of several.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<PgConnection, OpenError> {
        let (connection, _) = self.find(purpose).await?;
        Ok(connection)
    }

    /// Connects to the server that takes writes, for notifications.
    pub(super) async fn listener(&self) -> Result<PgListener, Error> {
        let (_, options) = self.find(Purpose::Read).await?;
        // sqlx listens on connections of a pool only.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options);
        let listen = in_time(
            self.parameters.connect_timeout,
            PgListener::connect_with(&pool),
        );
        let mut listener = listen.await?;
        in_time(ANSWER_TIMEOUT, async {
            let connection = listener.acquire().await?;
            set_up(connection, &self.parameters.settings, Purpose::Read).await
        })
        .await?;
        Ok(listener)
    }

    async fn find(&self, purpose: Purpose) -> Result<(PgConnection, PgConnectOptions), OpenError> {
        let mut attempts = JoinSet::new();
        for server in &self.servers {
            let (database, server) = (self.clone(), server.clone());
            attempts.spawn(async move { database.connect_to(&server, purpose).await });
        }
        let mut errors = Vec::new();
        while let Some(attempt) = attempts.join_next().await {
            match attempt {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => errors.push(error),
                Err(ended) => errors.push(self.unusable(sqlx::Error::Io(ended.into()))),
            }
        }
        match errors.pop() {
            Some(error) if errors.is_empty() => Err(error),
            last => {
                errors.extend(last);
                Err(OpenError::NoServer(errors))
            }
        }
    }

    async fn connect_to(
        &self,
        server: &Server,
        purpose: Purpose,
    ) -> Result<(PgConnection, PgConnectOptions), OpenError> {
        let this = || self.only(server);
        let connecting = async {
            let options = self.options(server.clone()).await?;
            let mut connection = options.connect().await?;
            set_up(&mut connection, &self.parameters.settings, purpose).await?;
            let is_usable = purpose == Purpose::Export && self.reads_any()
                || is_writable(&mut connection).await?;
            Ok((is_usable, connection, options))
        };
        match timeout(self.parameters.connect_timeout, connecting).await {
            Ok(Ok((true, connection, options))) => Ok((connection, options)),
            Ok(Ok((false, ..))) => Err(OpenError::ReadOnly(this())),
            Ok(Err(error)) => Err(this().unusable(error)),
            Err(_) => Err(OpenError::Silent(this())),
        }
    }

    /// Returns the options of a server. Reads the password from its file each time, so that a new
    /// password needs no restart.
    async fn options(&self, server: Server) -> Result<PgConnectOptions, sqlx::Error> {
        let file = self.parameters.passfile.clone();
        let options = spawn_blocking(move || {
            let options: PgConnectOptions = server.url.parse()?;
            Ok::<_, sqlx::Error>(match file {
                Some(file) => options
                    .clone()
                    .password(&passfile::password(&file, &options)?),
                None => options,
            })
        });
        let options = options
            .await
            .map_err(|ended| sqlx::Error::Io(ended.into()))??;
        let name = options.get_application_name().unwrap_or("orderlog");
        Ok(options
            .clone()
            .application_name(name)
            .extra_float_digits(None)
            .disable_statement_logging())
    }
}

/// Applies the settings of the URL, and then those of the purpose, which prevail.
async fn set_up(
    connection: &mut PgConnection,
    of_url: &[(String, String)],
    purpose: Purpose,
) -> Result<(), sqlx::Error> {
    let own = purpose.settings();
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let of_url = of_url
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let (names, values): (Vec<_>, Vec<_>) = of_url.chain(own).unzip();
    sqlx::query(
        "SELECT set_config(name, value, false)
        FROM UNNEST($1::text[], $2::text[]) AS setting (name, value)",
    )
    .bind(names)
    .bind(values)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns false for a standby, and for a server that is set to be read-only.
async fn is_writable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let sql = "SELECT current_setting('transaction_read_only') = 'off'";
    sqlx::query_scalar(sql).fetch_one(connection).await
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// Connections for reads, which are opened on demand.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    connections: managed::Pool<Opener>,
    runtime: Handle,
}

/// A connection that returns to its pool when it is dropped.
pub(super) type Pooled = Object<Opener>;

#[derive(Debug)]
pub(super) struct Opener(Database);

impl managed::Manager for Opener {
    type Type = PgConnection;
    type Error = Error;

    async fn create(&self) -> Result<PgConnection, Error> {
        Ok(self.0.connect(Purpose::Read).await?)
    }

    /// Rejects a connection that was closed meanwhile, or whose server takes no more writes.
    async fn recycle(&self, connection: &mut PgConnection, _: &Metrics) -> RecycleResult<Error> {
        match in_time(CHECK_TIMEOUT, is_writable(connection)).await? {
            true => Ok(()),
            false => Err(Error::from(OpenError::ReadOnly(self.0.clone())).into()),
        }
    }
}

impl Pool {
    pub(super) fn new(
        database: &Database,
        connections: u32,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let mut config = managed::PoolConfig::new(connections as usize);
        config.timeouts.wait = Some(CONNECT_TIMEOUT);
        let builder = managed::Pool::builder(Opener(database.clone())).config(config);
        let built = builder.runtime(deadpool::Runtime::Tokio1).build();
        Ok(Self {
            connections: built.map_err(|error| sqlx::Error::Io(io::Error::other(error)))?,
            runtime: runtime.clone(),
        })
    }

    /// Returns a connection. New connections open on the pool's runtime.
    pub(super) async fn get(&self) -> Result<Pooled, Error> {
        let connections = self.connections.clone();
        let got = self.runtime.spawn(async move { connections.get().await });
        match got.await.map_err(|_| sqlx::Error::PoolClosed)? {
            Ok(connection) => Ok(connection),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(_)) => Err(sqlx::Error::PoolTimedOut.into()),
            Err(_) => Err(sqlx::Error::PoolClosed.into()),
        }
    }
}

/// Closes the connection after a failed or late answer, so that the pool does not reuse it.
pub(super) fn keep_or_close<T>(connection: Pooled, answer: Result<T, Error>) -> Result<T, Error> {
    if answer.is_err() {
        drop(Object::take(connection));
    }
    answer
}
