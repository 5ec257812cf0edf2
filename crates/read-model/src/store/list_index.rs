//! Keeps the index of lists with the documents.

use std::{collections::HashMap, sync::Arc};

use contract::orders::v1::AggregateType;

use super::{Error, Writer, batch::Batch, list::scan, reader::PublishedLists, snapshot::decode};
use crate::{
    AggregateId, Row,
    lists::{Change, Entry, GivenName, State},
    search::Document,
};

/// Documents that are brought to the index at once.
const CATCH_UP: u32 = 2000;

/// Orders that are queued for the search index by one statement.
const MAX_QUEUED_AT_ONCE: usize = 10_000;

/// Selects orders after a row.
const SELECT_CREATED: &str =
    "SELECT row, row, body FROM orders WHERE row > ?1 ORDER BY row LIMIT ?2";

/// Selects the orders that changed after a position and are older than ?3.
const SELECT_CHANGED: &str = "SELECT position, row, body FROM orders
    WHERE position > ?1 AND position > row AND row <= ?3 ORDER BY position LIMIT ?2";

impl Writer {
    /// Returns the entries of documents.
    pub(super) async fn entries<'a>(
        &mut self,
        documents: impl Iterator<Item = &'a Document> + Clone,
    ) -> Result<Vec<Entry>, Error> {
        self.numbers.entries(&mut self.connection, documents).await
    }

    /// Returns what a batch changes in the lists. `old` are the entries of the documents before it.
    pub(super) async fn changes(
        &mut self,
        old: Vec<Entry>,
        batch: &Batch<'_>,
        position: u64,
    ) -> Result<Vec<Change>, Error> {
        let new = self.entries(batch.orders.values()).await?;
        let old = old.into_iter().map(|entry| (entry.row, Arc::new(entry)));
        let mut old: HashMap<Row, _> = old.collect();
        let changes = new.into_iter().map(|new| Change {
            position,
            old: old.remove(&new.row),
            new: Arc::new(new),
        });
        Ok(changes
            .filter(|change| change.old.as_ref() != Some(&change.new))
            .collect())
    }

    /// Waits until the index of lists has room for more changes.
    pub(super) async fn make_room(&mut self) -> Result<(), Error> {
        Ok(self.lists.make_room().await?)
    }

    /// Shows committed changes in the lists.
    pub(super) fn publish(&mut self, changes: Vec<Change>) {
        let state = self.state();
        self.lists.publish(changes, state);
    }

    /// Brings all changes to the index. Only an index without a retry's changes would have to be filled
    /// again after the end of the process.
    pub(super) async fn flush_lists(&mut self) {
        if let Err(error) = self.lists.flush().await {
            tracing::error!(%error, "the index of lists cannot be written");
        }
    }

    pub(super) fn published_lists(&self) -> PublishedLists {
        self.lists.subscribe()
    }

    /// Returns the rows of all orders that show the name of a customer or product, in parts.
    pub(super) async fn rows_of_name(
        &mut self,
        named: &AggregateId,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let of_customer = named.kind == AggregateType::Customer;
        let number: Option<i64> = sqlx::query_scalar(match of_customer {
            true => "SELECT number FROM customers WHERE customer_id = ?",
            false => "SELECT number FROM products WHERE product_id = ?",
        })
        .bind(&named.id)
        .fetch_optional(&mut self.connection)
        .await?;
        let (Some(number), Some(view)) = (number, self.lists.view()) else {
            return Ok(Vec::new());
        };
        let name = GivenName {
            position: u64::MAX,
            number: number.cast_unsigned(),
            of_customer,
        };
        let (mut parts, mut after) = (Vec::<Vec<Row>>::new(), Row::default());
        loop {
            let found = scan(view.clone(), move |view, caller| {
                view.orders_of(&[name], after, MAX_QUEUED_AT_ONCE, caller)
            });
            let rows: Vec<_> = found.await?.into_iter().map(|(_, row)| row).collect();
            let Some(&last) = rows.last() else {
                return Ok(parts);
            };
            after = last;
            parts.push(rows);
        }
    }

    /// Returns the state that the lists must show.
    fn state(&self) -> State {
        let checkpoint = self.checkpoint.as_ref();
        checkpoint.map_or_else(State::default, |checkpoint| State {
            log_id: checkpoint.log_id.clone(),
            position: checkpoint.position,
            retries: checkpoint.retries,
        })
    }

    /// Brings to the index of lists all that the file has and the index lacks: what was in memory
    /// when the process ended, or everything.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Lists`]: the index cannot be written.
    pub(super) async fn catch_up_lists(&mut self) -> Result<(), Error> {
        let state = self.state();
        if *self.lists.newest() == state {
            return Ok(());
        }
        let committed = self.lists.committed();
        let is_usable = committed.position == 0
            || committed.log_id == state.log_id
                && committed.retries == state.retries
                && committed.position <= state.position;
        let from = if is_usable { committed.position } else { 0 };
        self.lists.rewind(is_usable).await?;
        if from == 0 && state.position > 0 {
            tracing::info!(position = state.position, "the index of lists is filled");
        }
        self.bring_to_lists(SELECT_CREATED, from, from).await?;
        if from > 0 {
            self.bring_to_lists(SELECT_CHANGED, from, from).await?;
        }
        self.lists.commit(state).await?;
        Ok(())
    }

    async fn bring_to_lists(
        &mut self,
        select: &'static str,
        mut after: u64,
        oldest: u64,
    ) -> Result<(), Error> {
        loop {
            let found: Vec<(i64, Row, Vec<u8>)> = sqlx::query_as(select)
                .bind(after.cast_signed())
                .bind(CATCH_UP)
                .bind(oldest.cast_signed())
                .fetch_all(&mut self.connection)
                .await?;
            let Some((last, ..)) = found.last() else {
                return Ok(());
            };
            after = last.cast_unsigned();
            // A damaged document is in no list. The comparison with the log names it.
            let documents = found.iter().filter_map(|(_, row, body)| {
                let decoded = decode(*row, body);
                decoded
                    .inspect_err(|error| tracing::error!(%error, "the order is missing in lists"))
                    .ok()
            });
            let documents: Vec<_> = documents.collect();
            let entries = self.entries(documents.iter()).await?;
            self.lists.write(entries).await?;
        }
    }
}
