//! The one that writes: batches of events in, documents and checkpoint in one transaction.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use contract::{google::r#type::Money, orders::v1::RecordedEvent};
use prost::Message as _;
use prost_types::Timestamp;
use sqlx::{
    Arguments as _, AssertSqlSafe, SqliteConnection,
    encode::Encode,
    error::BoxDynError,
    sqlite::{Sqlite, SqliteArguments},
    types::Type,
};
use tokio::sync::watch;
use wire::convert;

use super::{
    Checkpoint, DURABILITY, Error, MIGRATIONS, Parked, Projection, Reader,
    batch::{Batch, Name, order_ids},
    json,
    reader::{Pool, decode},
};
use crate::{projection::SCHEMA, search::Document};

/// A batch changes a page of nearly every index for each of its orders, so the cache holds those
/// pages (32 MiB at most).
const CACHE: &str = "PRAGMA cache_size = -32768";

/// Applies events to the documents.
#[derive(Debug)]
pub struct Writer {
    connection: SqliteConnection,
    generation: u64,
    checkpoint: Option<Checkpoint>,
    /// Whether any order is parked.
    has_parked: bool,
    /// Whether a transaction may have been left open, by an error or because a caller stopped
    /// waiting for it.
    unsettled: bool,
    position: watch::Sender<u64>,
    again: watch::Sender<()>,
    /// What the readers read with, to be led to another file.
    pools: Arc<Mutex<Vec<Pool>>>,
    path: PathBuf,
    /// The statements that make the indexes which a file in the making does without.
    indexes: Vec<String>,
}

/// Makes a new file as fast as it can be: nothing of it outlives a crash, so nothing waits for the
/// disk, and no page is written to a log first.
const IN_THE_MAKING: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";

/// What only the old documents knew: what the search index has still to be brought, and what it
/// refuses; and the orders that are otherwise in the new ones.
const INHERIT: &str = "
    BEGIN IMMEDIATE;
    INSERT INTO main.again SELECT * FROM old.again WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO main.parked SELECT * FROM old.parked WHERE projection = 'search'
        ON CONFLICT DO NOTHING;
    INSERT INTO main.again SELECT n.row, 1 FROM main.orders n LEFT JOIN old.orders o ON o.row = n.row
        WHERE o.body IS NOT n.body AND n.position <= (SELECT position FROM old.checkpoint)
        ON CONFLICT DO NOTHING;
    COMMIT";

/// As [`DURABILITY`] wants it.
const MADE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";

impl Writer {
    /// Opens the file, or makes it. `generation` is which build of the read model a new file is;
    /// one that has applied events before keeps its own. The thread that writes inherits the
    /// priority of the one that this is called on.
    ///
    /// # Errors
    /// When it is not a read model's file, or cannot be opened.
    pub async fn open(path: &Path, generation: u64) -> Result<Self, Error> {
        let connection = sqlite::writer(path, &MIGRATIONS, DURABILITY).await?;
        let mut writer = Self {
            connection,
            generation,
            checkpoint: None,
            has_parked: false,
            unsettled: false,
            position: watch::Sender::new(0),
            again: watch::Sender::new(()),
            pools: Arc::default(),
            path: path.to_owned(),
            indexes: Vec::new(),
        };
        sqlx::raw_sql(CACHE).execute(&mut writer.connection).await?;
        writer.load_checkpoint().await?;
        Ok(writer)
    }

    /// Opens a file that is being made, and is thrown away if that is not brought to its end by
    /// [`Writer::finish`]: until then it has no indexes but what it needs itself, each of which
    /// costs more for an event than the event.
    ///
    /// # Errors
    /// When it is not a read model's file, or cannot be opened.
    pub async fn open_new(path: &Path, generation: u64) -> Result<Self, Error> {
        let mut writer = Self::open(path, generation).await?;
        let connection = &mut writer.connection;
        let indexes: Vec<(String, String)> = sqlx::query_as(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        )
        .fetch_all(&mut *connection)
        .await?;
        sqlx::raw_sql(IN_THE_MAKING)
            .execute(&mut *connection)
            .await?;
        for (name, sql) in indexes {
            let drop = format!("DROP INDEX {name}");
            sqlx::raw_sql(AssertSqlSafe(drop))
                .execute(&mut *connection)
                .await?;
            writer.indexes.push(sql);
        }
        Ok(writer)
    }

    /// Makes the indexes of a file of [`Writer::open_new`], and sees to it that all of it is on the
    /// disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn finish(&mut self) -> Result<(), Error> {
        for sql in std::mem::take(&mut self.indexes) {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut self.connection)
                .await?;
        }
        let path = self.path.clone();
        let synced = tokio::task::spawn_blocking(move || fs::File::open(path)?.sync_all());
        synced.await.map_err(io::Error::other)??;
        sqlx::raw_sql(MADE).execute(&mut self.connection).await?;
        Ok(())
    }

    /// One that reads what this one writes, over so many connections. Their threads inherit the
    /// priority of the one that the future runs on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self, connections: u32) -> impl Future<Output = Result<Reader, Error>> + use<> {
        let path = self.path.clone();
        let (position, again) = (self.position.subscribe(), self.again.subscribe());
        let pools = Arc::clone(&self.pools);
        async move {
            let pool = Pool::open(&path, connections).await?;
            let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.push(pool.clone());
            Ok(Reader::new(pool, position, again))
        }
    }

    /// Takes the place of another writer, which is at most as far: who has read what that one wrote
    /// reads from now on what this one does. `switch` makes that last. What the search index has been
    /// brought of the old documents, and is otherwise in the new ones, it is to be brought again.
    ///
    /// # Errors
    /// When a file cannot be read or written, or `switch` fails; the old one goes on then.
    pub async fn succeed(
        &mut self,
        old: &Self,
        switch: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        self.inherit(old).await?;
        let pools = old
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut opened = Vec::new();
        for pool in &pools {
            opened.push(pool.open_beside(&self.path).await?);
        }
        switch()?;
        self.pools = Arc::clone(&old.pools);
        self.position = old.position.clone();
        self.again = old.again.clone();
        for (pool, opened) in pools.iter().zip(opened) {
            pool.replace(opened);
        }
        let position = self.checkpoint.as_ref().map_or(0, |c| c.position);
        self.position.send_replace(position);
        self.again.send_replace(());
        Ok(())
    }

    async fn inherit(&mut self, old: &Self) -> Result<(), Error> {
        sqlx::query("ATTACH ? AS old")
            .bind(old.path.to_string_lossy().into_owned())
            .execute(&mut self.connection)
            .await?;
        let inherited = sqlx::raw_sql(INHERIT).execute(&mut self.connection).await;
        // Fails when a statement before it failed within its transaction, which then ends with it.
        let _ = sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await;
        sqlx::raw_sql("DETACH old")
            .execute(&mut self.connection)
            .await?;
        inherited?;
        Ok(())
    }

    /// Which build of the documents this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is a build of an older version of the projection.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|made| made.schema != SCHEMA)
    }

    /// Up to where the documents are made; `None` while nothing has been applied.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Applies events, in the order of their positions, and moves the checkpoint to `position`,
    /// up to which there is no other event: all of it, or nothing. Events at or below the
    /// checkpoint are skipped, so that a batch can be given again.
    ///
    /// An event that does not fit parks its order.
    ///
    /// # Errors
    /// When the events are another log's, or the file cannot be written; nothing has changed then,
    /// and the batch can be given again.
    pub async fn apply(
        &mut self,
        log_id: &str,
        events: &[RecordedEvent],
        position: u64,
    ) -> Result<(), Error> {
        self.settle().await?;
        let position = events
            .last()
            .map_or(position, |last| position.max(last.position));
        let done = match &self.checkpoint {
            Some(checkpoint) if checkpoint.log_id != log_id => {
                return Err(Error::LogMismatch {
                    given: log_id.to_owned(),
                    actual: checkpoint.log_id.clone(),
                });
            }
            Some(checkpoint) if checkpoint.position >= position => return Ok(()),
            Some(checkpoint) => checkpoint.position,
            None => 0,
        };
        let new: Vec<_> = events
            .iter()
            .filter(|event| event.position > done)
            .collect();
        let checkpoint = Checkpoint {
            log_id: log_id.to_owned(),
            position,
            generation: self.generation,
            schema: self.checkpoint.as_ref().map_or(SCHEMA, |made| made.schema),
        };
        let stored = self.stored(&new).await?;
        let parked = self.parked(&new).await?;
        let batch = Batch::new(stored, parked, &new);
        for (order_id, aside) in &batch.parked {
            if let Some(error) = &aside.error {
                tracing::error!(order_id, %error, "the order is parked");
            }
        }
        self.has_parked |= !batch.parked.is_empty();
        let script = Script::begin()
            .with(batch, Some(&checkpoint))
            .map_err(sqlx::Error::Encode)?;
        self.run(script).await?;
        self.checkpoint = Some(checkpoint);
        self.position.send_replace(position);
        Ok(())
    }

    /// Projects the events that wait behind the one for which an order was parked: `history` is all
    /// of its events. False if one of them cannot be projected still; it stays parked then.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub async fn retry(
        &mut self,
        order_id: &str,
        history: &[RecordedEvent],
    ) -> Result<bool, Error> {
        self.settle().await?;
        let reached = self.checkpoint.as_ref().map_or(0, |made| made.position);
        let stored = self.stored(&history.iter().collect::<Vec<_>>()).await?;
        let version = stored.first().map_or(0, |document| document.order.version);
        let waiting: Vec<_> = history
            .iter()
            .filter(|event| event.version > version && event.position <= reached)
            .collect();
        let batch = Batch::new(stored, [], &waiting);
        let done = batch.parked.is_empty();
        let rows: Vec<_> = batch.orders.values().map(|document| document.row).collect();
        let mut script = Script::begin();
        script
            .unpark(Projection::Documents, order_id)
            .map_err(sqlx::Error::Encode)?;
        script.again(rows).map_err(sqlx::Error::Encode)?;
        let script = script.with(batch, None).map_err(sqlx::Error::Encode)?;
        self.run(script).await?;
        self.again.send_replace(());
        Ok(done)
    }

    /// Orders of which an event could not be projected, at most so many.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn parked_orders(&mut self, limit: u32) -> Result<Vec<String>, Error> {
        Ok(
            sqlx::query_scalar("SELECT order_id FROM parked WHERE projection = ? LIMIT ?")
                .bind(Projection::Documents.name())
                .bind(limit)
                .fetch_all(&mut self.connection)
                .await?,
        )
    }

    /// Sets an order aside that the search index refuses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn park(&mut self, refused: &Parked) -> Result<(), Error> {
        self.settle().await?;
        let mut script = Script::begin();
        script
            .park([(Projection::Search, refused.clone())])
            .map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await
    }

    /// Lets the search index be brought an order again that it refused.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn offer_again(&mut self, order_id: &str) -> Result<(), Error> {
        self.settle().await?;
        let row: Option<i64> = sqlx::query_scalar("SELECT row FROM orders WHERE order_id = ?")
            .bind(order_id)
            .fetch_optional(&mut self.connection)
            .await?;
        let mut script = Script::begin();
        script
            .unpark(Projection::Search, order_id)
            .map_err(sqlx::Error::Encode)?;
        let rows = row.map(i64::cast_unsigned);
        script.again(rows).map_err(sqlx::Error::Encode)?;
        self.run(script.commit()).await?;
        self.again.send_replace(());
        Ok(())
    }

    /// What [`Reader::again`] told has been brought to the search index; what has changed since
    /// stays.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn brought(&mut self, brought: &[(u64, i64)]) -> Result<(), Error> {
        self.settle().await?;
        sqlx::query(
            "DELETE FROM again WHERE (row, times) IN \
             (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
        )
        .bind(json(brought)?)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// Whether the file is sound and its statistics count the orders that are there; what is wrong,
    /// if anything is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn check(&mut self) -> Result<Option<String>, Error> {
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await?;
        if sound != "ok" {
            return Ok(Some(sound));
        }
        let (orders, counted): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM orders), \
             (SELECT coalesce(sum(orders), 0) FROM statistics WHERE scope = 0)",
        )
        .fetch_one(&mut self.connection)
        .await?;
        let wrong = || format!("there are {orders} orders, and {counted} in the statistics");
        Ok((orders != counted).then(wrong))
    }

    /// Closes the file.
    pub async fn close(self) {
        sqlite::close(self.connection).await;
    }

    async fn stored(&mut self, events: &[&RecordedEvent]) -> Result<Vec<Document>, Error> {
        let ids: Vec<_> = order_ids(events).into_iter().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT row, body FROM orders WHERE order_id IN (SELECT value FROM json_each(?))",
        )
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?;
        rows.into_iter()
            .map(|(row, body)| decode(row, &body))
            .collect()
    }

    /// Those of the events' orders that are parked.
    async fn parked(&mut self, events: &[&RecordedEvent]) -> Result<Vec<String>, Error> {
        if !self.has_parked {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = order_ids(events).into_iter().collect();
        Ok(sqlx::query_scalar(
            "SELECT order_id FROM parked WHERE projection = ? \
             AND order_id IN (SELECT value FROM json_each(?))",
        )
        .bind(Projection::Documents.name())
        .bind(json(&ids)?)
        .fetch_all(&mut self.connection)
        .await?)
    }

    async fn run(&mut self, script: Script) -> Result<(), Error> {
        self.unsettled = true;
        if let Err(error) = script.run(&mut self.connection).await {
            // Should this fail as well, the next batch begins with it.
            let _ = self.settle().await;
            return Err(error.into());
        }
        self.unsettled = false;
        Ok(())
    }

    /// Ends a transaction that was left open, and finds out what was committed.
    async fn settle(&mut self) -> Result<(), Error> {
        if self.unsettled {
            // It fails when there is none open, which is as good.
            let _ = sqlx::raw_sql("ROLLBACK")
                .execute(&mut self.connection)
                .await;
            self.load_checkpoint().await?;
            self.unsettled = false;
        }
        Ok(())
    }

    async fn load_checkpoint(&mut self) -> Result<(), Error> {
        self.checkpoint = super::checkpoint(&mut self.connection).await?;
        if let Some(checkpoint) = &self.checkpoint {
            self.generation = checkpoint.generation;
            self.has_parked = sqlx::query_scalar("SELECT EXISTS (SELECT * FROM parked)")
                .fetch_one(&mut self.connection)
                .await?;
            self.position.send_replace(checkpoint.position);
        }
        Ok(())
    }
}

/// A transaction as one text, so that it costs one call: each goes to SQLite's thread and back.
#[derive(Default)]
struct Script {
    sql: String,
    arguments: SqliteArguments,
}

impl Script {
    fn begin() -> Self {
        Self {
            sql: "BEGIN IMMEDIATE;".to_owned(),
            ..Self::default()
        }
    }

    fn commit(mut self) -> Self {
        self.sql.push_str("COMMIT");
        self
    }

    fn park(
        &mut self,
        orders: impl IntoIterator<Item = (Projection, Parked)>,
    ) -> Result<(), BoxDynError> {
        self.insert(
            "INSERT INTO parked (projection, order_id, position, error, events) ",
            5,
            " ON CONFLICT (projection, order_id) DO UPDATE SET position = excluded.position, \
             error = excluded.error, events = excluded.events",
            orders,
            |script, (projection, parked)| {
                script.bind(projection.name())?;
                script.bind(parked.order_id)?;
                script.bind(parked.position.cast_signed())?;
                script.bind(parked.error)?;
                script.bind(parked.events.cast_signed())
            },
        )
    }

    fn unpark(&mut self, projection: Projection, order_id: &str) -> Result<(), BoxDynError> {
        self.sql
            .push_str("DELETE FROM parked WHERE projection = ? AND order_id = ?;");
        self.bind(projection.name())?;
        self.bind(order_id.to_owned())
    }

    fn again(&mut self, rows: impl IntoIterator<Item = u64>) -> Result<(), BoxDynError> {
        let again = " ON CONFLICT (row) DO UPDATE SET times = times + 1";
        self.insert(
            "INSERT INTO again (row, times) ",
            2,
            again,
            rows,
            |script, row| {
                script.bind(row.cast_signed())?;
                script.bind(1)
            },
        )
    }

    fn bind<'q>(
        &mut self,
        value: impl Encode<'q, Sqlite> + Type<Sqlite>,
    ) -> Result<(), BoxDynError> {
        self.arguments.add(value)
    }

    /// Adds rows of `columns` values each, in as many statements as their parameters need.
    fn insert<T>(
        &mut self,
        into: &'static str,
        columns: usize,
        on_conflict: &'static str,
        rows: impl IntoIterator<Item = T>,
        mut bind: impl FnMut(&mut Self, T) -> Result<(), BoxDynError>,
    ) -> Result<(), BoxDynError> {
        let most = sqlite::MAX_PARAMETERS / columns;
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut count = 0;
            for row in rows.by_ref().take(most) {
                bind(self, row)?;
                count += 1;
            }
            self.sql.push_str(into);
            sqlite::values(&mut self.sql, count, columns);
            self.sql.push_str(on_conflict);
            self.sql.push(';');
        }
        Ok(())
    }

    async fn run(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // No two batches make the same text: keeping it prepared would only take memory.
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments)
            .persistent(false)
            .execute(connection)
            .await
            .map(|_| ())
    }
}

impl Script {
    /// Adds what a batch changes, and commits.
    fn with(
        mut self,
        batch: Batch<'_>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, BoxDynError> {
        let script = &mut self;
        let mut orders: Vec<_> = batch.orders.into_values().collect();
        orders.sort_unstable_by_key(|document| document.row);
        script.insert(
        "INSERT INTO orders (row, order_id, customer_id, status, created_at, updated_at, total, \
         currency, position, body) ",
        10,
        " ON CONFLICT (row) DO UPDATE SET status = excluded.status, \
         updated_at = excluded.updated_at, position = excluded.position, body = excluded.body",
        orders,
        bind_order,
    )?;
        script.insert(
            "INSERT INTO order_products (product_id, row) ",
            2,
            "",
            batch.products,
            |script, (product_id, row)| {
                script.bind(product_id)?;
                script.bind(row.cast_signed())
            },
        )?;
        insert_names(
            script,
            "INSERT INTO customers (customer_id, name, position) ",
            " ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, \
         position = excluded.position",
            batch.customer_names,
        )?;
        insert_names(
            script,
            "INSERT INTO products (product_id, name, position) ",
            " ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, \
         position = excluded.position",
            batch.product_names,
        )?;
        script.insert(
            "INSERT INTO statistics (scope, subject, currency, status, orders, high, low) ",
            7,
            " ON CONFLICT (scope, subject, currency, status) DO UPDATE SET \
         orders = orders + excluded.orders, \
         high = high + excluded.high + ((low + excluded.low) >> 32), \
         low = (low + excluded.low) & 4294967295",
            batch.statistics.into_changes(),
            |script, (key, orders, sum)| {
                script.bind(key.scope as i64)?;
                script.bind(key.subject)?;
                script.bind(key.currency)?;
                script.bind(key.status)?;
                script.bind(orders)?;
                script.bind(sum.high)?;
                script.bind(sum.low)
            },
        )?;
        script.insert(
            "INSERT INTO checkpoint (id, log_id, position, generation, schema) ",
            5,
            " ON CONFLICT (id) DO UPDATE SET position = excluded.position",
            checkpoint,
            |script, checkpoint| {
                script.bind(1)?;
                script.bind(checkpoint.log_id.clone())?;
                script.bind(checkpoint.position.cast_signed())?;
                script.bind(checkpoint.generation.cast_signed())?;
                script.bind(checkpoint.schema)
            },
        )?;
        let (new, waiting): (Vec<_>, Vec<_>) = batch
            .parked
            .into_iter()
            .filter(|(_, aside)| aside.events > 0)
            .partition(|(_, aside)| aside.error.is_some());
        let new = new.into_iter().filter_map(|(order_id, aside)| {
            let error = aside.error?;
            let parked = Parked {
                order_id,
                position: error.position,
                error: error.fault.to_string(),
                events: aside.events,
            };
            Some((Projection::Documents, parked))
        });
        script.park(new)?;
        for (order_id, aside) in waiting {
            script.sql.push_str(
                "UPDATE parked SET events = events + ? WHERE projection = ? AND order_id = ?;",
            );
            script.bind(aside.events.cast_signed())?;
            script.bind(Projection::Documents.name())?;
            script.bind(order_id)?;
        }
        Ok(self.commit())
    }
}

fn bind_order(script: &mut Script, Document { row, order }: Document) -> Result<(), BoxDynError> {
    // The projection has refused what is no amount or time.
    let time = |time: Option<Timestamp>| time.as_ref().and_then(convert::nanoseconds).unwrap_or(0);
    let body = order.encode_to_vec();
    let Money { currency_code, .. } = order.total_amount.clone().unwrap_or_default();
    let total = order.total_amount.as_ref().and_then(convert::amount);
    script.bind(row.cast_signed())?;
    script.bind(order.order_id)?;
    script.bind(order.customer_id)?;
    script.bind(order.status)?;
    script.bind(time(order.created_at))?;
    script.bind(time(order.updated_at))?;
    script.bind(total.unwrap_or(0))?;
    script.bind(currency_code)?;
    script.bind(order.position.cast_signed())?;
    script.bind(body)
}

fn insert_names(
    script: &mut Script,
    into: &'static str,
    on_conflict: &'static str,
    names: BTreeMap<&str, Name<'_>>,
) -> Result<(), BoxDynError> {
    script.insert(into, 3, on_conflict, names, |script, (id, name)| {
        script.bind(id.to_owned())?;
        script.bind(name.text.to_owned())?;
        script.bind(name.position.cast_signed())
    })
}
