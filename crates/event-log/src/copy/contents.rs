//! The rows of a log in either store, for copies.

use std::{fs, path::Path};

use sqlx::{PgConnection, SqliteConnection};

use super::Error;
use crate::{Aggregate, Appender, Event, Location, Position, Request, Schema, postgres, sqlite};

/// A copy does not decode records, so no schema version applies.
const ANY_SCHEMA: Schema = Schema {
    current: 0,
    upcast: |_, _, _| None,
};

/// The end of a log that is read whole: the largest position.
const NO_END: u64 = i64::MAX as u64;

/// The rows of a log.
#[derive(Debug)]
pub(super) struct Contents {
    location: Location,
    connection: Connection,
    /// The last position to read. Later events, and requests with a later position, are left out.
    end: u64,
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
    ($contents:expr, $connection:ident => $asked:expr) => {
        match &mut $contents.connection {
            Connection::File($connection) => $asked,
            Connection::Database($connection) => $asked,
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
    pub(super) async fn of(location: &Location) -> Result<Self, Error> {
        check_is_there(location).await?;
        Self::made(location, None).await
    }

    /// Opens an existing log for reading, through its present head. Nodes may append meanwhile.
    pub(super) async fn so_far(location: &Location) -> Result<Self, Error> {
        check_is_there(location).await?;
        let connection = match location {
            Location::File(file) => Connection::File(sqlite::connect_to_read(file).await?),
            Location::Database(database) => {
                Connection::Database(postgres::connect_to_read(database).await?)
            }
        };
        let mut contents = Self {
            location: location.clone(),
            connection,
            end: NO_END,
            folder: None,
        };
        contents.end = contents.head().await?;
        Ok(contents)
    }

    /// Opens a store that no other process uses, and brings its tables up to date. The store may be
    /// empty. If `beside` has locked the same folder, that lock serves both.
    pub(super) async fn made(location: &Location, beside: Option<&Self>) -> Result<Self, Error> {
        let (connection, folder) = match location {
            Location::File(file) => {
                if beside.is_some_and(|beside| beside.is(file)) {
                    return Err(Error::Itself);
                }
                let ours = beside.and_then(|beside| beside.folder.as_ref());
                let folder =
                    ::sqlite::Folder::own_that_of(file, ours).map_err(crate::Error::from)?;
                (Connection::File(sqlite::connect(file).await?), folder)
            }
            Location::Database(database) => {
                let connection = postgres::alone(database).await?;
                let connection = connection.ok_or_else(|| Error::InUse(location.clone()))?;
                (Connection::Database(connection), None)
            }
        };
        Ok(Self {
            location: location.clone(),
            connection,
            end: NO_END,
            folder,
        })
    }

    /// Returns whether the log is in `file`.
    fn is(&self, file: &Path) -> bool {
        let Location::File(ours) = &self.location else {
            return false;
        };
        let is_same = |ours| fs::canonicalize(file).is_ok_and(|file| file == ours);
        fs::canonicalize(ours).is_ok_and(is_same)
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

    pub(super) async fn identify(&mut self, identity: &Identity) -> Result<(), Error> {
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
    pub(super) async fn head(&mut self) -> Result<u64, Error> {
        let head: i64 = on_either!(self, connection => {
            sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events WHERE position <= $1")
                .bind(self.end.cast_signed())
                .fetch_one(connection)
                .await?
        });
        Ok(head.cast_unsigned())
    }

    /// Returns the number of requests.
    pub(super) async fn request_count(&mut self) -> Result<u64, Error> {
        let count: i64 = on_either!(self, connection => {
            sqlx::query_scalar("SELECT count(*) FROM requests WHERE position <= $1")
                .bind(self.end.cast_signed())
                .fetch_one(connection)
                .await?
        });
        Ok(count.cast_unsigned())
    }

    /// Returns up to `limit` events after position `after`, in order. Fails if one is missing.
    pub(super) async fn events(&mut self, after: u64, limit: usize) -> Result<Vec<Event>, Error> {
        type Row = (i64, i32, String, i64, String, i32, Vec<u8>);
        let rows: Vec<Row> = on_either!(self, connection => {
            sqlx::query_as(
                "SELECT position, aggregate_type, aggregate_id, version, event_type,
                    schema_version, record
                FROM events WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
            )
            .bind(after.cast_signed())
            .bind(self.end.cast_signed())
            .bind(limit as i64)
            .fetch_all(connection)
            .await?
        });
        if let Some((first, last)) = rows.first().zip(rows.last()) {
            crate::rows::check_dense(after, first.0, last.0, rows.len())?;
        }
        let event = |(_, kind, id, version, event_type, schema_version, record): Row| Event {
            aggregate: Aggregate { kind, id },
            version: version.cast_unsigned(),
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
    ) -> Result<Vec<Request>, Error> {
        type Row = (String, Vec<u8>, String, i64, i64);
        let rows: Vec<Row> = on_either!(self, connection => {
            sqlx::query_as(
                "SELECT request_id, fingerprint, aggregate_id, version, position
                FROM requests WHERE request_id > $1 AND position <= $2
                ORDER BY request_id LIMIT $3",
            )
            .bind(after)
            .bind(self.end.cast_signed())
            .bind(limit as i64)
            .fetch_all(connection)
            .await?
        });
        let request = |(id, fingerprint, aggregate_id, version, position): Row| Request {
            id,
            fingerprint,
            aggregate_id,
            version: version.cast_unsigned(),
            position: Position::Of(position.cast_unsigned()),
        };
        Ok(rows.into_iter().map(request).collect())
    }

    /// Closes a file, with all its rows on the disk, and returns the lock on its folder.
    pub(super) async fn close_alone(self) -> Result<Option<::sqlite::Folder>, Error> {
        if let (Connection::File(connection), Location::File(file)) =
            (self.connection, &self.location)
        {
            let closed = ::sqlite::close_alone(file, connection).await;
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

async fn check_is_there(location: &Location) -> Result<(), Error> {
    let is_there = match location {
        Location::File(file) => file.is_file(),
        Location::Database(database) => postgres::has_tables(database).await?,
    };
    if is_there {
        Ok(())
    } else {
        Err(Error::NoLog(location.clone()))
    }
}
