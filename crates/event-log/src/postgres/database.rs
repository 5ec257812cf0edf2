//! The address of a database, its connection options, and the checks before its use.

use std::{
    fmt::{self, Display},
    str::FromStr,
    sync::Arc,
};

use sqlx::{
    Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
};

use super::{
    session::Purpose,
    url::{self, Parameters, Server, UrlError},
};

/// The oldest supported version: Postgres 14, as `server_version_num`.
const MIN_SERVER_VERSION: i32 = 140_000;

/// A database, its servers, and the user to connect as. The printed form has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    pub(super) servers: Vec<Server>,
    pub(super) parameters: Arc<Parameters>,
}

/// The reason why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server is unreachable, rejects the connection, or fails a statement.
    #[error("{database} cannot be used: {error}")]
    Unusable {
        /// The database.
        database: Database,
        /// The error of the connection or statement.
        #[source]
        error: sqlx::Error,
    },
    /// The server does not complete a connection within 3 s, or the URL's `connect_timeout`.
    #[error("{0} does not answer")]
    Silent(Database),
    /// The server is a standby, or is set to be read-only.
    #[error("{0} is read-only: a standby, or default_transaction_read_only is on")]
    ReadOnly(Database),
    /// None of several servers takes writes.
    #[error("no server takes writes: {}", list(.0))]
    NoServer(Vec<OpenError>),
    /// The server is older than Postgres 14.
    #[error("{0} is too old: Postgres 14 or later is needed")]
    TooOld(Database),
    /// The database's encoding is not UTF8. No other encoding can hold every text.
    #[error("{database} has encoding {encoding}: UTF8 is needed")]
    Encoding {
        /// The database.
        database: Database,
        /// The database's encoding.
        encoding: String,
    },
    /// The schema has tables with names of the log's, or migrations of another program.
    #[error(
        "{0} has tables of other programs with the names of orderlog's: give orderlog a schema of \
         its own, as with options=-csearch_path=orderlog"
    )]
    Foreign(Database),
    /// A newer version of orderlog migrated the tables.
    #[error("{0} was written by a newer version of orderlog")]
    Newer(Database),
}

impl FromStr for Database {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        url::read(url)
    }
}

impl Database {
    /// Returns the database on one of its servers, to name in an error.
    pub(super) fn only(&self, server: &Server) -> Self {
        Self {
            servers: vec![server.clone()],
            parameters: Arc::clone(&self.parameters),
        }
    }

    /// Returns whether an export may read from a server that takes no writes. One of several
    /// servers may lag behind, so the URL must ask for it.
    pub(super) fn reads_any(&self) -> bool {
        self.parameters.any_server || self.servers.len() == 1
    }

    pub(super) fn unusable(&self, error: sqlx::Error) -> OpenError {
        OpenError::Unusable {
            database: self.clone(),
            error,
        }
    }

    /// Opens a read-only connection without statement timeouts. Fails if a newer orderlog migrated
    /// the tables.
    pub(super) async fn connect_to_read(
        &self,
        migrations: &Migrator,
    ) -> Result<PgConnection, OpenError> {
        let mut connection = self.connect(Purpose::Export).await?;
        self.check(&mut connection, migrations).await?;
        let newest = async {
            sqlx::raw_sql("SET default_transaction_read_only = on")
                .execute(&mut connection)
                .await?;
            sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
                .fetch_one(&mut connection)
                .await
        };
        let newest: i64 = newest.await.map_err(|error| self.unusable(error))?;
        if newest > 0 && !migrations.version_exists(newest) {
            return Err(OpenError::Newer(self.clone()));
        }
        Ok(connection)
    }

    /// Checks the database and brings its tables up to date. One node at a time migrates.
    pub(super) async fn prepare(&self, migrations: &Migrator) -> Result<(), OpenError> {
        let unusable = |error| self.unusable(error);
        let mut connection = self.connect(Purpose::Maintain).await?;
        self.check(&mut connection, migrations).await?;
        // Databases for tests are set so on purpose, so the node starts.
        for setting in self.unsafe_settings(&mut connection).await? {
            tracing::error!(
                database = %self,
                "{setting} is off: a crash of the server's machine can lose or damage acknowledged events"
            );
        }
        // `run` returns a future that cannot be spawned.
        migrations
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|error| match error {
                MigrateError::VersionMissing(_) => OpenError::Newer(self.clone()),
                MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                    unusable(error)
                }
                other => unusable(sqlx::Error::Migrate(Box::new(other))),
            })?;
        // The migration is complete, so a connection that fails to close changes nothing.
        let _ = connection.close().await;
        Ok(())
    }

    async fn check(
        &self,
        connection: &mut PgConnection,
        migrations: &Migrator,
    ) -> Result<(), OpenError> {
        let row = sqlx::query_as(
            "SELECT current_setting('server_version_num'), current_setting('server_encoding'),
                to_regclass('_sqlx_migrations') IS NOT NULL, coalesce(to_regclass('log'),
                    to_regclass('append_lock'), to_regclass('events'), to_regclass('requests'))
                    IS NOT NULL",
        );
        let row = row.fetch_one(&mut *connection).await;
        let (version, encoding, has_migrations, has_tables): (String, String, bool, bool) =
            row.map_err(|error| self.unusable(error))?;
        if version.parse().unwrap_or(0) < MIN_SERVER_VERSION {
            return Err(OpenError::TooOld(self.clone()));
        }
        if encoding != "UTF8" {
            return Err(OpenError::Encoding {
                database: self.clone(),
                encoding,
            });
        }
        let first = match has_migrations {
            true => {
                let first = "SELECT checksum FROM _sqlx_migrations ORDER BY version LIMIT 1";
                let first = sqlx::query_scalar(first).fetch_optional(connection);
                first.await.map_err(|error| self.unusable(error))?
            }
            false => None,
        };
        // The first migration never changes, so its checksum tells whose migrations these are.
        let is_own = |checksum: Vec<u8>| {
            migrations
                .iter()
                .next()
                .is_some_and(|own| *own.checksum == *checksum)
        };
        match first.map_or(!has_tables, is_own) {
            true => Ok(()),
            false => Err(OpenError::Foreign(self.clone())),
        }
    }

    /// Returns the settings with which a crash of the server can lose or damage commits (guarantee
    /// G1).
    pub(super) async fn unsafe_settings(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Vec<String>, OpenError> {
        let off = "SELECT name FROM pg_settings
            WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name";
        let off = sqlx::query_scalar(off).fetch_all(connection).await;
        off.map_err(|error| self.unusable(error))
    }
}

fn list(errors: &[OpenError]) -> String {
    let errors: Vec<_> = errors.iter().map(OpenError::to_string).collect();
    errors.join("; ")
}

impl Display for Database {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parameters { user, name, .. } = &*self.parameters;
        let servers: Vec<_> = self.servers.iter().map(|it| it.address.as_str()).collect();
        write!(to, "postgres://{user}@{}/{name}", servers.join(","))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, to)
    }
}
