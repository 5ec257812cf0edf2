//! The contents of a documents file as they are stored, for a comparison with the log.

use std::{future::ready, path::Path};

use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use sqlx::{ConnectOptions as _, FromRow, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{Checkpoint, Error, Projection, checkpoint, statistics::Sum};
use crate::{AggregateId, Row};

/// A row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRow {
    /// The document of an order.
    Order {
        /// The id beside the document.
        order_id: String,
        /// The row.
        row: Row,
        /// The position beside the document.
        position: u64,
        /// The encoded document.
        body: Vec<u8>,
    },
    /// The name of a customer or product.
    Name {
        /// The customer or product.
        aggregate: AggregateId,
        /// The name.
        text: String,
        /// The position of the event that gave the name.
        position: u64,
    },
    /// A parked order, customer or product.
    Parked {
        /// The parked order, customer or product.
        aggregate: AggregateId,
        /// The error that parked it.
        error: String,
    },
}

/// A line of the stored statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsLine {
    /// The day in UTC, such as `2026-11-24`; `None` for all days.
    pub day: Option<String>,
    /// The currency of the orders' totals.
    pub currency: String,
    /// The status of the orders.
    pub status: i32,
    /// The number of orders.
    pub orders: i64,
    /// The sum of their totals, in units of 1/10,000.
    pub sum: i128,
}

/// One snapshot of a documents file.
#[derive(Debug)]
pub struct Contents {
    connection: SqliteConnection,
    checkpoint: Option<Checkpoint>,
}

impl Contents {
    /// Opens a snapshot of a file.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn open(file: &Path) -> Result<Self, Error> {
        let mut connection = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        let checkpoint = checkpoint(&mut connection).await?;
        Ok(Self {
            connection,
            checkpoint,
        })
    }

    /// Returns the checkpoint of the snapshot; `None` before the first batch.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Returns the faults that SQLite finds in the file, at most 100.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn faults(&mut self) -> Result<Vec<String>, Error> {
        Ok(sqlx::query_scalar("PRAGMA integrity_check(100)")
            .fetch(&mut self.connection)
            .try_filter(|fault: &String| ready(fault != "ok"))
            .try_collect()
            .await?)
    }

    /// Returns all documents, in the order of their rows.
    pub fn documents(&mut self) -> BoxStream<'_, Result<StoredRow, Error>> {
        let orders =
            sqlx::query_as("SELECT row, order_id, position, body FROM orders ORDER BY row");
        let orders = orders.fetch(&mut self.connection);
        let orders =
            orders.map_ok(
                |(row, order_id, position, body): (_, _, i64, _)| StoredRow::Order {
                    order_id,
                    row,
                    position: position.cast_unsigned(),
                    body,
                },
            );
        orders.err_into().boxed()
    }

    /// Returns the names of all customers and products that have one.
    pub fn names(&mut self) -> BoxStream<'_, Result<StoredRow, Error>> {
        let names = sqlx::query_as::<_, NameRow>(
            "SELECT 2 AS aggregate_type, customer_id AS aggregate_id, name, position
                FROM customers WHERE name IS NOT NULL
             UNION ALL SELECT 3, product_id, name, position FROM products WHERE name IS NOT NULL",
        );
        let names = names.fetch(&mut self.connection);
        let names = names.map_ok(|name| StoredRow::Name {
            aggregate: name.aggregate,
            text: name.name,
            position: name.position.cast_unsigned(),
        });
        names.err_into().boxed()
    }

    /// Returns all that the documents have parked.
    pub fn parked(&mut self) -> BoxStream<'_, Result<StoredRow, Error>> {
        let parked = sqlx::query_as::<_, ParkedRow>(
            "SELECT aggregate_type, aggregate_id, error FROM parked WHERE projection = ?",
        );
        let parked = parked.bind(Projection::Documents.name());
        let parked = parked.fetch(&mut self.connection);
        let parked = parked.map_ok(|parked| StoredRow::Parked {
            aggregate: parked.aggregate,
            error: parked.error,
        });
        parked.err_into().boxed()
    }

    /// Returns all lines of the statistics that count orders or have a sum.
    pub fn statistics(&mut self) -> BoxStream<'_, Result<StatisticsLine, Error>> {
        let lines = sqlx::query_as::<_, StatisticsRow>(
            "SELECT nullif(subject, '') AS day, currency, status, orders, high, low
             FROM statistics WHERE (orders, high, low) <> (0, 0, 0)",
        );
        let lines = lines.fetch(&mut self.connection);
        let lines = lines.map_ok(|line| StatisticsLine {
            day: line.day,
            currency: line.currency,
            status: line.status,
            orders: line.orders,
            sum: line.sum.whole(),
        });
        lines.err_into().boxed()
    }
}

#[derive(FromRow)]
struct NameRow {
    #[sqlx(flatten)]
    aggregate: AggregateId,
    name: String,
    position: i64,
}

#[derive(FromRow)]
struct ParkedRow {
    #[sqlx(flatten)]
    aggregate: AggregateId,
    error: String,
}

#[derive(FromRow)]
struct StatisticsRow {
    day: Option<String>,
    currency: String,
    status: i32,
    orders: i64,
    #[sqlx(flatten)]
    sum: Sum,
}
