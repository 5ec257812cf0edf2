//! The address of a database, its connection options, and the checks before its use.

use std::{
    fmt::{self, Display},
    str::FromStr,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};

use super::{CONNECT_TIMEOUT, IDLE_TIMEOUT, STATEMENT_TIMEOUT};

/// The oldest supported version: Postgres 14, as `server_version_num`.
const MIN_SERVER_VERSION: i32 = 140_000;

/// The parameters that a URL may have.
const ALLOWED_PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// A database and the user to connect as. The printed form has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    url: String,
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
    /// The server does not complete a connection within 3 s.
    #[error("{0} does not answer")]
    Silent(Database),
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
    /// The database has tables with names of the log's, and no migrations of orderlog.
    #[error("{0} has tables of other programs with the names of orderlog's")]
    Foreign(Database),
    /// A newer version of orderlog migrated the tables.
    #[error("{0} was written by a newer version of orderlog")]
    Newer(Database),
}

impl FromStr for Database {
    type Err = sqlx::Error;

    fn from_str(url: &str) -> Result<Self, sqlx::Error> {
        let rejected = |what: String| Err(sqlx::Error::Configuration(what.into()));
        // An unencoded part of a password could parse as the name of the database, which messages
        // show.
        let address = url.split('?').next().unwrap_or_default();
        let path = address.splitn(4, '/').nth(3).unwrap_or_default();
        if path.contains(['/', '@']) || url.contains('#') {
            return rejected(
                "the characters `/`, `@` and `#` must be percent-encoded in user and password"
                    .into(),
            );
        }
        // sqlx logs an unknown parameter with its value, which may be a password.
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !ALLOWED_PARAMETERS.contains(&name) {
                return rejected(format!(
                    "{name} is not a parameter of the URL of a database"
                ));
            }
        }
        let _: PgConnectOptions = url.parse()?;
        Ok(Self {
            url: url.to_owned(),
        })
    }
}

impl Database {
    fn options(&self) -> PgConnectOptions {
        // `from_str` has parsed the URL, so parsing cannot fail.
        self.url.parse().unwrap_or_else(|_| PgConnectOptions::new())
    }

    /// Returns the options for appends: statements have timeouts and find rows by index.
    pub(super) fn for_appending(&self) -> PgConnectOptions {
        let options = self.limited();
        // Each statement finds rows by their keys. While the tables are small or not analysed, the
        // planner would choose to scan them, and keep that plan.
        options.options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ])
    }

    /// Returns the options for reads. Commits skip the flush, because reads write nothing durable.
    pub(super) fn for_reading(&self) -> PgConnectOptions {
        self.limited().options([("synchronous_commit", "off")])
    }

    fn limited(&self) -> PgConnectOptions {
        let (statement, idle) = (milliseconds(STATEMENT_TIMEOUT), milliseconds(IDLE_TIMEOUT));
        self.options()
            .application_name("orderlog")
            .options([
                ("statement_timeout", statement.as_str()),
                ("idle_in_transaction_session_timeout", idle.as_str()),
                ("default_transaction_isolation", "read committed"),
                ("jit", "off"),
            ])
            .disable_statement_logging()
    }

    /// Opens a connection without statement timeouts, for work that waits or takes long.
    pub(crate) async fn connect(&self) -> Result<PgConnection, OpenError> {
        let options = self
            .options()
            .application_name("orderlog")
            .options([("client_min_messages", "warning")]);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
        connected
            .map_err(|_| OpenError::Silent(self.clone()))?
            .map_err(|error| OpenError::Unusable {
                database: self.clone(),
                error,
            })
    }

    /// Opens a read-only connection without statement timeouts. Fails if a newer orderlog migrated
    /// the tables.
    pub(super) async fn connect_to_read(
        &self,
        migrations: &Migrator,
    ) -> Result<PgConnection, OpenError> {
        let mut connection = self.connect().await?;
        self.check(&mut connection).await?;
        let newest = async {
            sqlx::raw_sql("SET default_transaction_read_only = on")
                .execute(&mut connection)
                .await?;
            sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
                .fetch_one(&mut connection)
                .await
        };
        let newest: i64 = newest.await.map_err(|error| OpenError::Unusable {
            database: self.clone(),
            error,
        })?;
        if newest > 0 && !migrations.version_exists(newest) {
            return Err(OpenError::Newer(self.clone()));
        }
        Ok(connection)
    }

    /// Checks the database and brings its tables up to date. One node at a time migrates.
    pub(super) async fn prepare(&self, migrations: &Migrator) -> Result<(), OpenError> {
        let unusable = |error| OpenError::Unusable {
            database: self.clone(),
            error,
        };
        let mut connection = self.connect().await?;
        self.check(&mut connection).await?;
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

    async fn check(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        let (version, encoding, foreign): (String, String, bool) = sqlx::query_as(
            "SELECT current_setting('server_version_num'), current_setting('server_encoding'),
                to_regclass('_sqlx_migrations') IS NULL AND coalesce(to_regclass('log'),
                    to_regclass('log_head'), to_regclass('events'), to_regclass('requests'))
                    IS NOT NULL",
        )
        .fetch_one(connection)
        .await
        .map_err(|error| OpenError::Unusable {
            database: self.clone(),
            error,
        })?;
        if version.parse().unwrap_or(0) < MIN_SERVER_VERSION {
            return Err(OpenError::TooOld(self.clone()));
        }
        if encoding != "UTF8" {
            return Err(OpenError::Encoding {
                database: self.clone(),
                encoding,
            });
        }
        if foreign {
            return Err(OpenError::Foreign(self.clone()));
        }
        Ok(())
    }
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}

impl Display for Database {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.options();
        write!(
            to,
            "postgres://{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        )
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, to)
    }
}
