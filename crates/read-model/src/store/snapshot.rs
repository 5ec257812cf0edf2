//! The file at one position, for reads of several statements.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use contract::orders::v1::Order;
use prost::Message as _;
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use super::{Checkpoint, Error, json};
use crate::{Row, search::Document};

/// A dropped snapshot ends its statement after this many more instructions of SQLite's machine: less
/// than a millisecond.
const INSTRUCTIONS_BETWEEN_CHECKS: i32 = 10_000;

/// Ends the statements of a connection once its snapshot is dropped, so that no thread works for a
/// caller that is gone.
async fn end_with(connection: &mut SqliteConnection, snapshot: Weak<()>) -> Result<(), Error> {
    let mut handle = connection.lock_handle().await?;
    let is_in_use = move || snapshot.strong_count() > 0;
    handle.set_progress_handler(INSTRUCTIONS_BETWEEN_CHECKS, is_in_use);
    Ok(())
}

/// The file at one position, until it is dropped. The drop ends a statement that is still running.
pub(super) struct Snapshot {
    /// The statements run for as long as this exists.
    _in_use: Arc<()>,
    transaction: Transaction<'static, Sqlite>,
    pub(super) as_of: u64,
    /// The checkpoint of the snapshot; `None` before the first batch.
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Snapshot {
    pub(super) async fn begin(pool: &SqlitePool) -> Result<Self, Error> {
        let mut transaction = pool.begin().await?;
        let in_use = Arc::new(());
        end_with(&mut transaction, Arc::downgrade(&in_use)).await?;
        // The first SELECT starts the transaction's snapshot.
        let checkpoint = super::checkpoint(&mut transaction).await?;
        Ok(Self {
            _in_use: in_use,
            transaction,
            as_of: checkpoint
                .as_ref()
                .map_or(0, |checkpoint| checkpoint.position),
            checkpoint,
        })
    }

    pub(super) fn history(&self) -> String {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(String::new, |checkpoint| checkpoint.history.clone())
    }

    pub(super) fn log_id(&self) -> String {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(String::new, |checkpoint| checkpoint.log_id.clone())
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Returns the documents of rows, in the given sequence. A row without an order is left out.
    pub(super) async fn documents_by_rows(&mut self, rows: &[Row]) -> Result<Vec<Document>, Error> {
        let found: Vec<(Row, Vec<u8>)> = sqlx::query_as(
            "SELECT row, body FROM orders WHERE row IN (SELECT value FROM json_each(?))",
        )
        .bind(json(rows)?)
        .fetch_all(self.connection())
        .await?;
        let mut found: HashMap<Row, _> = found
            .into_iter()
            .map(|(row, body)| (row, (row, body)))
            .collect();
        let wanted = rows.iter().filter_map(|row| found.remove(row));
        self.documents(wanted.collect()).await
    }

    /// Decodes documents, and adds their names.
    pub(super) async fn documents(
        &mut self,
        rows: Vec<(Row, Vec<u8>)>,
    ) -> Result<Vec<Document>, Error> {
        documents(self.connection(), rows).await
    }
}

/// Decodes documents, and adds the names that the connection sees.
pub(super) async fn documents(
    connection: &mut SqliteConnection,
    rows: Vec<(Row, Vec<u8>)>,
) -> Result<Vec<Document>, Error> {
    let mut documents = rows
        .into_iter()
        .map(|(row, body)| decode(row, &body))
        .collect::<Result<Vec<_>, _>>()?;
    let names = Names::of(&documents, connection).await?;
    for document in &mut documents {
        names.show(&mut document.order);
    }
    Ok(documents)
}

/// Names by id, with the positions of the events that gave them.
#[derive(Default)]
struct Names {
    customers: HashMap<String, (String, u64)>,
    products: HashMap<String, (String, u64)>,
}

impl Names {
    async fn of(documents: &[Document], connection: &mut SqliteConnection) -> Result<Self, Error> {
        let mut names = Self::default();
        if documents.is_empty() {
            return Ok(names);
        }
        let orders = documents.iter().map(|document| &document.order);
        let customers: BTreeSet<_> = orders.clone().map(|order| &order.customer_id).collect();
        let products: BTreeSet<_> = orders
            .flat_map(|order| order.items.iter().map(|item| &item.product_id))
            .collect();
        let found: Vec<(bool, String, String, i64)> = sqlx::query_as(
            "SELECT true, customer_id, name, position FROM customers \
             WHERE name IS NOT NULL AND customer_id IN (SELECT value FROM json_each(?)) \
             UNION ALL \
             SELECT false, product_id, name, position FROM products \
             WHERE name IS NOT NULL AND product_id IN (SELECT value FROM json_each(?))",
        )
        .bind(json(&Vec::from_iter(customers))?)
        .bind(json(&Vec::from_iter(products))?)
        .fetch_all(connection)
        .await?;
        for (of_customer, id, name, position) in found {
            let of = if of_customer {
                &mut names.customers
            } else {
                &mut names.products
            };
            of.insert(id, (name, position.cast_unsigned()));
        }
        Ok(names)
    }

    fn show(&self, order: &mut Order) {
        let mut newest = order.position;
        if let Some((name, position)) = self.customers.get(&order.customer_id) {
            order.customer_name.clone_from(name);
            newest = newest.max(*position);
        }
        for item in &mut order.items {
            if let Some((name, position)) = self.products.get(&item.product_id) {
                item.product_name.clone_from(name);
                newest = newest.max(*position);
            }
        }
        order.position = newest;
    }
}

/// Decodes a stored document, which has no names.
pub(super) fn decode(row: Row, body: &[u8]) -> Result<Document, Error> {
    let order = Order::decode(body).map_err(|error| Error::Damaged { row, error })?;
    Ok(Document { row, order })
}
