//! The rows of a log in either store, for copies.

use std::{fs, path::Path};

use sqlx::{PgConnection, SqliteConnection};

use super::Error;
use crate::{
    Aggregate, Appender, Location, NewEvent, NewRequest, PendingPosition, Position, Schema,
    Version, postgres, sqlite,
};

/// A copy does not decode records, so no schema version applies.
const ANY_SCHEMA: Schema = Schema {
    current: 0,
    upcast: |_, _, _| None,
};

/// The rows of a log.
#[derive(Debug)]
pub(super) struct Contents {
    location: Location,
    connection: Connection,
    /// The last position to read. Later events, and requests with a later position, are left out.
    end: Position,
    /// The lock on the folder of a writable file, unless the other log of a copy holds the lock.
    folder: Option<::sqlite::Folder>,
}

#[derive(Debug)]
enum Connection {
    File(SqliteConnection),
    Database(PgConnection),
}

/// Runs the same text on both stores, which differ only in the type of the connection.
macro_rules! on_either {
    ($contents:expr, $connection:ident => $query:expr) => {
        match &mut $contents.connection {
            Connection::File($connection) => $query,
            Connection::Database($connection) => $query,
        }
    };
}

/// The id of a log, and whether the log is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) log_id: String,
    pub(super) whole: bool,
}

impl Contents {
    /// Opens an existing log that no other process uses.
    pub(super) async fn open(location: &Location) -> Result<Self, Error> {
        check_exists(location).await?;
        Self::open_or_create(location, None).await
    }

    /// Opens an existing log for reading, through its present head. Nodes may append meanwhile.
    pub(super) async fn open_snapshot(location: &Location) -> Result<Self, Error> {
        check_exists(location).await?;
        let connection = match location {
            Location::File(file) => Connection::File(sqlite::connect_to_read(file).await?),
            Location::Database(database) => {
                Connection::Database(postgres::connect_to_read(database).await?)
            }
        };
        let mut contents = Self {
            location: location.clone(),
            connection,
            end: Position::MAX,
            folder: None,
        };
        contents.end = contents.head().await?;
        Ok(contents)
    }

    /// Opens a store that no other process uses, and brings its tables up to date. The store may be
    /// empty. If `source` has locked the same folder, that lock serves both.
    pub(super) async fn open_or_create(
        location: &Location,
        source: Option<&Self>,
    ) -> Result<Self, Error> {
        let (connection, folder) = match location {
            Location::File(file) => {
                if source.is_some_and(|source| source.is_in(file)) {
                    return Err(Error::SameFile);
                }
                let owned = source.and_then(|source| source.folder.as_ref());
                let folder =
                    ::sqlite::Folder::own_parent_of(file, owned).map_err(crate::Error::from)?;
                (Connection::File(sqlite::connect(file).await?), folder)
            }
            Location::Database(database) => {
                let connection = postgres::connect_exclusively(database).await?;
                let connection = connection.ok_or_else(|| Error::InUse(location.clone()))?;
                (Connection::Database(connection), None)
            }
        };
        Ok(Self {
            location: location.clone(),
            connection,
            end: Position::MAX,
            folder,
        })
    }

    /// Returns whether the log is in `file`.
    fn is_in(&self, file: &Path) -> bool {
        let Location::File(own) = &self.location else {
            return false;
        };
        let is_same = |own| fs::canonicalize(file).is_ok_and(|file| file == own);
        fs::canonicalize(own).is_ok_and(is_same)
    }

    /// Opens an appender to the log.
    pub(super) async fn appender(&self) -> Result<Box<dyn Appender>, Error> {
        Ok(match &self.location {
            Location::File(file) => sqlite::appender(file, ANY_SCHEMA).await?,
            Location::Database(database) => postgres::appender(database, ANY_SCHEMA),
        })
    }

    /// Returns the log's identity, or `None` if the store has no log yet.
    pub(super) async fn identity(&mut self) -> Result<Option<Identity>, Error> {
        let row: Option<(String, bool)> = on_either!(self, connection => {
            sqlx::query_as("SELECT id, whole FROM log").fetch_optional(connection).await?
        });
        Ok(row.map(|(log_id, whole)| Identity { log_id, whole }))
    }

    /// Records the log's identity.
    pub(super) async fn set_identity(&mut self, identity: &Identity) -> Result<(), Error> {
        let Identity { log_id, whole } = identity;
        on_either!(self, connection => {
            sqlx::query(
                "INSERT INTO log (only_row, id, whole) VALUES (1, $1, $2)
                ON CONFLICT (only_row) DO UPDATE SET id = excluded.id, whole = excluded.whole",
            )
            .bind(log_id)
            .bind(whole)
            .execute(connection)
            .await?;
        });
        Ok(())
    }

    /// Returns the position of the newest event.
    pub(super) async fn head(&mut self) -> Result<Position, Error> {
        Ok(on_either!(self, connection => {
            sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events WHERE position <= $1")
                .bind(self.end)
                .fetch_one(connection)
                .await?
        }))
    }

    /// Returns the number of requests.
    pub(super) async fn request_count(&mut self) -> Result<u64, Error> {
        let count: i64 = on_either!(self, connection => {
            sqlx::query_scalar("SELECT count(*) FROM requests WHERE position <= $1")
                .bind(self.end)
                .fetch_one(connection)
                .await?
        });
        Ok(count.cast_unsigned())
    }

    /// Returns up to `limit` events after position `after`, in order. Fails if one is missing.
    pub(super) async fn events(
        &mut self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<NewEvent>, Error> {
        type EventRow = (Position, i32, String, Version, String, i32, Vec<u8>);
        let rows: Vec<EventRow> = on_either!(self, connection => {
            sqlx::query_as(
                "SELECT position, aggregate_type, aggregate_id, version, event_type,
                    schema_version, record
                FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
            )
            .bind(after)
            .bind(self.end)
            .bind(limit as i64)
            .fetch_all(connection)
            .await?
        });
        if let Some((first, last)) = rows.first().zip(rows.last()) {
            crate::rows::check_dense(after, first.0, last.0, rows.len())?;
        }
        let event =
            |(_, kind, id, version, event_type, schema_version, record): EventRow| NewEvent {
                aggregate: Aggregate { kind, id },
                version,
                event_type: event_type.into(),
                schema_version: schema_version.cast_unsigned(),
                record,
            };
        Ok(rows.into_iter().map(event).collect())
    }

    /// Returns up to `limit` requests with ids after `after`, in byte order of the ids.
    pub(super) async fn requests(
        &mut self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<NewRequest>, Error> {
        type RequestRow = (String, Vec<u8>, String, Version, Position);
        let rows: Vec<RequestRow> = on_either!(self, connection => {
            sqlx::query_as(
                "SELECT request_id, fingerprint, aggregate_id, version, position
                FROM requests WHERE request_id > $1 AND position <= $2
                ORDER BY request_id LIMIT $3",
            )
            .bind(after)
            .bind(self.end)
            .bind(limit as i64)
            .fetch_all(connection)
            .await?
        });
        let request = |(id, fingerprint, aggregate_id, version, position): RequestRow| NewRequest {
            id,
            fingerprint,
            aggregate_id,
            version,
            position: PendingPosition::Known(position),
        };
        Ok(rows.into_iter().map(request).collect())
    }

    /// Closes a file, with all its rows on the disk, and returns the lock on its folder.
    pub(super) async fn close_as_one_file(self) -> Result<Option<::sqlite::Folder>, Error> {
        if let (Connection::File(connection), Location::File(file)) =
            (self.connection, &self.location)
        {
            let closed = ::sqlite::close_as_one_file(file, connection).await;
            closed.map_err(crate::Error::from)?;
        }
        Ok(self.folder)
    }

    /// Closes the log, and releases the locks on it.
    pub(super) async fn close(self) {
        match self.connection {
            Connection::File(connection) => ::sqlite::close(connection).await,
            Connection::Database(mut connection) => {
                // The server may release the locks of a closed connection late, so the unlock is
                // explicit.
                let unlock = sqlx::raw_sql("SELECT pg_advisory_unlock_all()");
                // No statement is running, so a failure to unlock or close changes nothing.
                let _ = unlock.execute(&mut connection).await;
                let _ = sqlx::Connection::close(connection).await;
            }
        }
    }
}

async fn check_exists(location: &Location) -> Result<(), Error> {
    let exists = match location {
        Location::File(file) => file.is_file(),
        Location::Database(database) => postgres::has_tables(database).await?,
    };
    if exists {
        Ok(())
    } else {
        Err(Error::NoLog(location.clone()))
    }
}
