//! The one that writes: batches of events in, documents and checkpoint in one transaction.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
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
    DURABILITY, Error, MIGRATIONS, Reader,
    batch::{Batch, Name, order_ids},
    json,
    reader::decode,
};
use crate::search::{Checkpoint, Document};

/// A batch changes a page of nearly every index for each of its orders, so the cache holds those
/// pages (32 MiB at most).
const CACHE: &str = "PRAGMA cache_size = -32768";

/// Applies events to the documents.
#[derive(Debug)]
pub struct Writer {
    connection: SqliteConnection,
    generation: u64,
    checkpoint: Option<Checkpoint>,
    /// Whether a transaction may have been left open, by an error or because a caller stopped
    /// waiting for it.
    unsettled: bool,
    position: watch::Sender<u64>,
    path: PathBuf,
}

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
            unsettled: false,
            position: watch::Sender::new(0),
            path: path.to_owned(),
        };
        sqlx::raw_sql(CACHE).execute(&mut writer.connection).await?;
        writer.load_checkpoint().await?;
        Ok(writer)
    }

    /// One that reads what this one writes, over so many connections. Their threads inherit the
    /// priority of the one that the future runs on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reader(&self, connections: u32) -> impl Future<Output = Result<Reader, Error>> + use<> {
        let (path, position) = (self.path.clone(), self.position.subscribe());
        async move {
            let pool = sqlite::readers(&path, connections).await?;
            Ok(Reader::new(pool, position))
        }
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
    /// # Errors
    /// When an event does not fit the documents, or is another log's, or the file cannot be
    /// written; nothing has changed then, and the batch can be given again.
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
        };
        let stored = self.stored(&new).await?;
        let batch = Batch::new(stored, &new)?;
        let script = script(batch, &checkpoint).map_err(sqlx::Error::Encode)?;
        self.unsettled = true;
        if let Err(error) = script.run(&mut self.connection).await {
            // Should this fail as well, the next batch begins with it.
            let _ = self.settle().await;
            return Err(error.into());
        }
        self.unsettled = false;
        self.checkpoint = Some(checkpoint);
        self.position.send_replace(position);
        Ok(())
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

fn script(batch: Batch<'_>, checkpoint: &Checkpoint) -> Result<Script, BoxDynError> {
    let mut script = Script::default();
    script.sql.push_str("BEGIN IMMEDIATE;");
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
        &mut script,
        "INSERT INTO customers (customer_id, name, position) ",
        " ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, \
         position = excluded.position",
        batch.customer_names,
    )?;
    insert_names(
        &mut script,
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
        "INSERT INTO checkpoint (id, log_id, position, generation) ",
        4,
        " ON CONFLICT (id) DO UPDATE SET position = excluded.position",
        [checkpoint],
        |script, checkpoint| {
            script.bind(1)?;
            script.bind(checkpoint.log_id.clone())?;
            script.bind(checkpoint.position.cast_signed())?;
            script.bind(checkpoint.generation.cast_signed())
        },
    )?;
    script.sql.push_str("COMMIT");
    Ok(script)
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
