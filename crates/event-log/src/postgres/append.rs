//! The appender of a log in Postgres, which sends each batch as one statement.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use super::{ANSWER_TIMEOUT, Database, LOG_LOCK, in_time, session::Purpose};
use crate::{
    Appender, Batch, Error, Loaded, Needed, NewRequest, PendingPosition, Point, Position, Schema,
    Version,
    statements::{HEAD_SQL, POINT_SQL},
};

/// Appends for one node, or for a copy. Every node has its own appender.
#[derive(Debug)]
pub(super) struct PostgresAppender {
    database: Database,
    schema: Schema,
    /// The id of the log that the node opened. After a reconnect, the appender rejects another log.
    log_id: Option<String>,
    /// The newest point that the node has seen. A new connection must have it.
    seen: Point,
    /// True for a node, which shares the lock on the log. False for a copy, whose other connection
    /// holds the lock exclusively.
    is_node: bool,
    /// An error drops the connection, so that the server rolls its transaction back. A conflict
    /// outside an exclusive load keeps the connection.
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    postgres: PgConnection,
    /// When the connection last answered.
    used: Instant,
    /// True in the transaction of an exclusive load, which keeps other nodes from appending.
    exclusive: bool,
}

/// A connection that idles for 1 s is pinged before its next use. A restart of the database may
/// have closed the connection, and the outcome of a command on it would be unknown.
const IDLE_PING_INTERVAL: Duration = Duration::from_secs(1);

/// Loads events and requests in one round trip. Requests have aggregate type 0.
const LOAD_SQL: &str = "
    SELECT aggregate_type, '' AS request_id, aggregate_id, version, position, event_type,
        schema_version, record
    FROM UNNEST($1::integer[], $2::text[], $3::bigint[]) AS wanted (kind, id, count)
    CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE aggregate_type = wanted.kind AND aggregate_id = wanted.id
        ORDER BY version DESC LIMIT wanted.count
    ) AS newest
    UNION ALL
    SELECT 0, request_id, aggregate_id, version, position, '', 0, fingerprint
    FROM requests WHERE request_id = ANY($4)
    ORDER BY version";

/// Appends a batch in one call of a function, which locks, reads the newest position and inserts.
/// Without an exclusive load, no round trip separates the lock from the commit.
const APPEND_SQL: &str = "SELECT before, record_before FROM append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

impl PostgresAppender {
    /// Creates the appender of a node.
    pub(super) fn new(database: Database, schema: Schema) -> Self {
        Self {
            database,
            schema,
            log_id: None,
            seen: Point::START,
            is_node: true,
            connection: None,
        }
    }

    /// Creates the appender of a copy.
    pub(super) fn of_copy(database: Database, schema: Schema) -> Self {
        Self {
            is_node: false,
            ..Self::new(database, schema)
        }
    }

    /// Returns the log's id, and sets the id to `new` if the log has none.
    ///
    /// # Errors
    /// - [`Error::NotWhole`]: the log is an unfinished copy.
    /// - [`Error::Store`]: the database does not answer, or a copy has the log to itself.
    pub(super) async fn log_id(&mut self, new: &str) -> Result<String, Error> {
        let mut connection = self.take().await?;
        let id = in_time(ANSWER_TIMEOUT, async {
            sqlx::query("INSERT INTO log (only_row, id) VALUES (1, $1) ON CONFLICT DO NOTHING")
                .bind(new)
                .execute(&mut connection.postgres)
                .await?;
            sqlx::query_scalar("SELECT id FROM log")
                .fetch_one(&mut connection.postgres)
                .await
        });
        let id: String = id.await?;
        self.put_back(connection);
        self.log_id = Some(id.clone());
        Ok(id)
    }

    fn put_back(&mut self, mut connection: Connection) {
        connection.used = Instant::now();
        self.connection = Some(connection);
    }

    /// Takes the connection out, or opens one. The caller puts a working connection back.
    async fn take(&mut self) -> Result<Connection, Error> {
        let connection = match self.connection.take() {
            Some(connection)
                if connection.exclusive || connection.used.elapsed() < IDLE_PING_INTERVAL =>
            {
                return Ok(connection);
            }
            Some(mut connection) => {
                let answer = in_time(ANSWER_TIMEOUT, connection.postgres.ping()).await;
                answer.is_ok().then_some(connection)
            }
            None => None,
        };
        match connection {
            Some(connection) => Ok(connection),
            None => {
                let mut postgres = connect(&self.database).await?;
                if self.is_node {
                    check(&mut postgres, self.log_id.as_deref()).await?;
                    let record = sqlx::query_scalar(POINT_SQL).bind(self.seen.position);
                    let record = in_time(ANSWER_TIMEOUT, record.fetch_optional(&mut postgres));
                    let record: Option<Vec<u8>> = record.await?;
                    let position = self.seen.position;
                    let found = record.map(|record| Point::of(position, &record));
                    self.seen.check(found)?;
                }
                Ok(Connection {
                    postgres,
                    used: Instant::now(),
                    exclusive: false,
                })
            }
        }
    }
}

#[async_trait]
impl Appender for PostgresAppender {
    fn has_seen(&mut self, point: Point) {
        self.seen = point;
    }

    async fn head(&mut self) -> Result<Position, Error> {
        let mut connection = self.take().await?;
        let head = sqlx::query_scalar(HEAD_SQL);
        let head = in_time(ANSWER_TIMEOUT, head.fetch_one(&mut connection.postgres)).await?;
        self.put_back(connection);
        Ok(head)
    }

    async fn probe(&mut self) -> Result<(), Error> {
        let mut connection = self.take().await?;
        let write = sqlx::query("UPDATE log SET id = id").execute(&mut connection.postgres);
        in_time(ANSWER_TIMEOUT, write).await?;
        self.put_back(connection);
        Ok(())
    }

    async fn load(
        &mut self,
        needed: &[Needed<'_>],
        request_ids: &[&str],
        exclusively: bool,
    ) -> Result<Loaded, Error> {
        // The batch of this exclusive load was given up. The lock ends with the connection.
        self.connection.take_if(|connection| connection.exclusive);
        if needed.is_empty() && request_ids.is_empty() && !exclusively {
            return Ok(Loaded::default());
        }
        let mut connection = self.take().await?;
        let kinds: Vec<_> = needed.iter().map(|needed| needed.aggregate.kind).collect();
        let ids: Vec<_> = needed.iter().map(|needed| &needed.aggregate.id).collect();
        let counts: Vec<_> = needed
            .iter()
            .map(|needed| if needed.newest_only { 1 } else { i64::MAX })
            .collect();
        let rows = in_time(ANSWER_TIMEOUT, async {
            if exclusively {
                sqlx::raw_sql("BEGIN; SELECT only_row FROM append_lock FOR UPDATE")
                    .execute(&mut connection.postgres)
                    .await?;
            }
            sqlx::query_as(LOAD_SQL)
                .bind(kinds)
                .bind(ids)
                .bind(counts)
                .bind(request_ids)
                .fetch_all(&mut connection.postgres)
                .await
        });
        let loaded = Loaded::of(rows.await?, self.schema);
        connection.exclusive = exclusively;
        self.put_back(connection);
        Ok(loaded)
    }

    async fn append(&mut self, batch: &Batch) -> Result<Point, Error> {
        let mut connection = self.take().await?;
        match in_time(ANSWER_TIMEOUT, append(&mut connection, batch)).await {
            Ok(before) => {
                connection.exclusive = false;
                self.put_back(connection);
                Ok(before)
            }
            Err(Error::Conflict) if !connection.exclusive => {
                self.put_back(connection);
                Err(Error::Conflict)
            }
            Err(error) => Err(error),
        }
    }

    async fn close(self: Box<Self>) {
        if let Some(connection) = self.connection {
            // No statement is running, so a connection that fails to close changes nothing.
            let _ = connection.postgres.close().await;
        }
    }
}

async fn append(connection: &mut Connection, batch: &Batch) -> Result<Point, sqlx::Error> {
    let Batch { events, requests } = batch;
    if events.is_empty() && requests.is_empty() {
        if connection.exclusive {
            sqlx::raw_sql("ROLLBACK")
                .execute(&mut connection.postgres)
                .await?;
        }
        return Ok(Point::START);
    }
    let kinds: Vec<_> = events.iter().map(|event| event.aggregate.kind).collect();
    let ids: Vec<_> = events.iter().map(|event| &event.aggregate.id).collect();
    let versions: Vec<_> = events.iter().map(|event| event.version).collect();
    let types: Vec<_> = events
        .iter()
        .map(|event| event.event_type.as_ref())
        .collect();
    let schemas: Vec<_> = events
        .iter()
        .map(|event| event.schema_version.cast_signed())
        .collect();
    let records: Vec<_> = events.iter().map(|event| event.record.as_slice()).collect();
    let replies = Replies::of(requests);
    let (before, record): (Position, Option<Vec<u8>>) = sqlx::query_as(APPEND_SQL)
        .bind(kinds)
        .bind(ids)
        .bind(versions)
        .bind(types)
        .bind(schemas)
        .bind(records)
        .bind(replies.ids)
        .bind(replies.fingerprints)
        .bind(replies.aggregate_ids)
        .bind(replies.versions)
        .bind(replies.positions)
        .bind(replies.in_batch)
        .fetch_one(&mut connection.postgres)
        .await?;
    if connection.exclusive {
        sqlx::raw_sql("COMMIT")
            .execute(&mut connection.postgres)
            .await?;
    }
    Ok(Point::of(before, &record.unwrap_or_default()))
}

/// The columns of the requests, as [`APPEND_SQL`] binds them.
#[derive(Default)]
struct Replies<'a> {
    ids: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
    aggregate_ids: Vec<&'a str>,
    versions: Vec<Version>,
    /// Positions in the log, or for requests `in_batch`, places among the batch's events, from 1.
    positions: Vec<Position>,
    in_batch: Vec<bool>,
}

impl<'a> Replies<'a> {
    fn of(requests: &'a [NewRequest]) -> Self {
        let mut replies = Self::default();
        for request in requests {
            let (position, in_batch) = match request.position {
                PendingPosition::Known(position) => (position, false),
                PendingPosition::InBatch(index) => (Position::START + (index + 1), true),
            };
            replies.ids.push(&request.id);
            replies.fingerprints.push(&request.fingerprint);
            replies.aggregate_ids.push(&request.aggregate_id);
            replies.versions.push(request.version);
            replies.positions.push(position);
            replies.in_batch.push(in_batch);
        }
        replies
    }
}

/// Takes the shared lock, which keeps copies from the log while the connection lives.
///
/// # Errors
/// - [`Error::NotWhole`]: the log is an unfinished copy.
/// - [`Error::Store`]: the database does not answer, a copy has the log to itself, or the log is not
///   `log_id`.
pub(super) async fn check(
    connection: &mut PgConnection,
    log_id: Option<&str>,
) -> Result<(), Error> {
    let row = sqlx::query_as(
        "SELECT pg_try_advisory_lock_shared($1), (SELECT id FROM log), (SELECT whole FROM log)",
    );
    let row = in_time(ANSWER_TIMEOUT, row.bind(LOG_LOCK).fetch_one(connection)).await?;
    let (taken, id, whole): (bool, Option<String>, Option<bool>) = row;
    if !taken {
        return Err(sqlx::Error::Protocol("the log is being copied".to_owned()).into());
    }
    if whole == Some(false) {
        return Err(Error::NotWhole);
    }
    if log_id.is_some() && log_id != id.as_deref() {
        let other = "the database holds another log now".to_owned();
        return Err(sqlx::Error::Protocol(other).into());
    }
    Ok(())
}

/// Connects, and turns `synchronous_commit` on if the default is `off`, so that a commit is
/// durable.
async fn connect(database: &Database) -> Result<PgConnection, Error> {
    let mut connection = database.connect(Purpose::Append).await?;
    // Every other setting waits for the local disk at commit, and stays.
    let synchronous = sqlx::query(
        "SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off'",
    );
    in_time(ANSWER_TIMEOUT, synchronous.execute(&mut connection)).await?;
    Ok(connection)
}
