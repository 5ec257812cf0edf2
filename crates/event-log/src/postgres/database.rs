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

/// `server_version_num` of Postgres 14.
const OLDEST: i32 = 140_000;

/// What may stand behind the `?` of a URL.
const PARAMETERS: [&str; 11] = [
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

/// A database, and who we are there. What it prints has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Database {
    url: String,
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be reached, or does not let us in.
    #[error("{database} cannot be used: {error}")]
    Unusable {
        /// Which one.
        database: Database,
        /// What it says.
        #[source]
        error: sqlx::Error,
    },
    /// It does not answer.
    #[error("{0} does not answer")]
    Silent(Database),
    /// It is a Postgres before version 14.
    #[error("{0} is too old: Postgres 14 or later is needed")]
    TooOld(Database),
    /// It keeps text in an encoding that cannot hold all of it.
    #[error("{database} has encoding {encoding}: UTF8 is needed")]
    Encoding {
        /// Which one.
        database: Database,
        /// Its encoding.
        encoding: String,
    },
    /// It has tables of the names that ours have.
    #[error("{0} has tables of other programs, named as orderlog's are")]
    Foreign(Database),
    /// A newer version of orderlog has made its tables.
    #[error("{0} was written by a newer version of orderlog")]
    Newer(Database),
}

impl FromStr for Database {
    type Err = sqlx::Error;

    fn from_str(url: &str) -> Result<Self, sqlx::Error> {
        let refused = |what: String| Err(sqlx::Error::Configuration(what.into()));
        // Otherwise a part of a password that is not encoded would be taken for the database, which
        // is told.
        let place = url.split('?').next().unwrap_or_default();
        let path = place.splitn(4, '/').nth(3).unwrap_or_default();
        if path.contains(['/', '@']) || url.contains('#') {
            return refused("what a URL reserves must be encoded in user and password".into());
        }
        // sqlx would log one that it does not know, with its value, which may be a password.
        let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            if !PARAMETERS.contains(&name) {
                return refused(format!("there is no parameter {name}"));
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
        // It was parsed when this was made.
        self.url.parse().unwrap_or_else(|_| PgConnectOptions::new())
    }

    /// Every statement ends in time, and the commit is on the disk when it does, also where the
    /// database's default is another.
    pub(super) fn for_appending(&self) -> PgConnectOptions {
        let options = self.limited();
        // Each statement looks rows up by their keys. While the tables are small or not analysed,
        // the planner would rather read them whole, and keep that plan.
        options.options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
        ])
    }

    /// Nothing durable is written on these.
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

    /// A connection without limits: what is done on it may wait, and take its time.
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

    /// A connection as [`Self::connect`] makes it that only reads, whose tables are not newer than
    /// this program.
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

    /// Checks the database, and brings its tables up to date; one node at a time.
    pub(super) async fn prepare(&self, migrations: &Migrator) -> Result<(), OpenError> {
        let unusable = |error| OpenError::Unusable {
            database: self.clone(),
            error,
        };
        let mut connection = self.connect().await?;
        self.check(&mut connection).await?;
        // Not `run`, whose future cannot be spawned.
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
        // It has done its work: that it cannot be closed any more changes nothing.
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
        if version.parse().unwrap_or(0) < OLDEST {
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
