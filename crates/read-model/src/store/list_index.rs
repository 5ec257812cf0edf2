//! Keeps the index of lists with the documents.

use std::{collections::HashMap, sync::Arc};

use contract::orders::v1::AggregateType;

use super::{Error, Writer, batch::Batch, list::scan, reader::PublishedLists, snapshot::decode};
use crate::{
    AggregateId, Row,
    lists::{Change, Entry, GivenName, State},
    search::Document,
};

/// Maximum number of documents that a step brings to the index: few in tests, so that these take many
/// steps.
const MAX_BROUGHT_AT_ONCE: u32 = if cfg!(test) { 5 } else { 2000 };

/// Maximum position of documents of which an index without a commit is filled before anything else:
/// that takes a moment.
const MAX_FILLED_AT_ONCE: u64 = if cfg!(test) { 1 } else { 65_536 };

/// Orders that are queued for the search index by one statement.
const MAX_QUEUED_AT_ONCE: usize = 10_000;

/// Selects orders after a row.
const SELECT_CREATED: &str =
    "SELECT row, row, body FROM orders WHERE row > ?1 ORDER BY row LIMIT ?2";

/// Selects the orders that changed after a position and are older than ?3.
const SELECT_CHANGED: &str = "SELECT position, row, body FROM orders
    WHERE position > ?1 AND position > row AND row <= ?3 ORDER BY position LIMIT ?2";

/// How far an index of lists is filled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filling {
    /// It has to be emptied first.
    ToBegin,
    /// The index has all orders up to `row`, each as it was when the documents were at `position` or
    /// later, and as no retry since has made it.
    At {
        row: u64,
        position: u64,
        retries: u64,
    },
}

impl Writer {
    /// Returns whether the index of lists lacks orders that [`Writer::fill_lists`] brings.
    #[must_use]
    pub fn is_filling_lists(&self) -> bool {
        self.filling.is_some()
    }

    /// Brings some more orders to an index of lists that has to be filled. Lists are unavailable until
    /// it is complete.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Lists`]: the index cannot be written. The next call begins once more.
    pub async fn fill_lists(&mut self) -> Result<(), Error> {
        self.roll_back().await?;
        if let Some(filling) = self.filling {
            // After a failure, the index lacks what has been brought without a commit.
            self.filling = Some(Filling::ToBegin);
            self.filling = self.fill(filling).await?;
            self.listed.send_replace(self.filling.is_none());
        }
        Ok(())
    }

    /// Returns how far the index is filled after another step; `None` if it is complete.
    async fn fill(&mut self, filling: Filling) -> Result<Option<Filling>, Error> {
        let state = self.state();
        let (row, position, retries) = match filling {
            Filling::At {
                row,
                position,
                retries,
            } if retries == state.retries => (row, position, retries),
            // A retry changes an order without a new event, so that no position shows the change.
            Filling::At { .. } | Filling::ToBegin => {
                tracing::info!(
                    position = state.position,
                    "the index of lists is being filled"
                );
                self.lists.clear().await?;
                (0, state.position, state.retries)
            }
        };
        let at = |row, position| Filling::At {
            row,
            position,
            retries,
        };
        let created = self.bring_to_lists(SELECT_CREATED, row, row, false);
        if let Some(row) = created.await? {
            return Ok(Some(at(row, position)));
        }
        let changed = self.bring_to_lists(SELECT_CHANGED, position, row, true);
        if let Some(position) = changed.await? {
            return Ok(Some(at(row, position)));
        }
        self.lists.commit(state).await?;
        tracing::info!(position = self.position(), "the index of lists is complete");
        Ok(None)
    }

    /// Fills the index of lists from its beginning, behind everything else. Lists are unavailable
    /// until then.
    async fn refill_lists(&mut self) {
        self.filling = Some(Filling::ToBegin);
        self.listed.send_replace(false);
        self.lists.rewind(false).await;
    }

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

    /// Waits until the index of lists has room for more changes. An index that cannot be written is
    /// filled once it can be, and documents go on without lists.
    pub(super) async fn make_room(&mut self) {
        if let Err(error) = self.lists.make_room().await {
            tracing::error!(%error, "the index of lists cannot be written: it has to be filled");
            self.refill_lists().await;
        }
    }

    /// Shows committed changes in the lists. An index that is being filled finds them in the file.
    pub(super) fn publish(&mut self, changes: Vec<Change>) {
        if self.filling.is_none() {
            let state = self.state();
            self.lists.publish(changes, state);
        }
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
        if self.is_filling_lists() {
            return Err(Error::Unlisted);
        }
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

    /// Brings to the index of lists what the file has and the index lacks: what was in memory when the
    /// process ended. An index of other documents is filled: at once if there are few.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Lists`]: the index cannot be written.
    pub(super) async fn catch_up_lists(&mut self) -> Result<(), Error> {
        let state = self.state();
        if self.filling.is_some() || *self.lists.newest() == state {
            return Ok(());
        }
        let committed = self.lists.committed();
        let is_usable = committed.position > 0
            && committed.log_id == state.log_id
            && committed.retries == state.retries
            && committed.position <= state.position;
        if !is_usable {
            self.refill_lists().await;
            let mut filling = Some(Filling::ToBegin);
            if state.position <= MAX_FILLED_AT_ONCE {
                while let Some(reached) = filling {
                    filling = self.fill(reached).await?;
                }
            }
            self.filling = filling;
            self.listed.send_replace(filling.is_none());
            return Ok(());
        }
        let from = committed.position;
        self.lists.rewind(true).await;
        for select in [SELECT_CREATED, SELECT_CHANGED] {
            let mut after = Some(from);
            while let Some(reached) = after {
                // After a commit that failed once it was written, the index has some of them.
                after = self.bring_to_lists(select, reached, from, true).await?;
            }
        }
        self.lists.commit(state).await?;
        Ok(())
    }

    /// Brings the first selected orders after a row or position to the index, which may have older
    /// entries of them if they `are_listed`. Returns the last one's; `None` if there are no more.
    async fn bring_to_lists(
        &mut self,
        select: &'static str,
        after: u64,
        oldest: u64,
        are_listed: bool,
    ) -> Result<Option<u64>, Error> {
        let found: Vec<(i64, Row, Vec<u8>)> = sqlx::query_as(select)
            .bind(after.cast_signed())
            .bind(MAX_BROUGHT_AT_ONCE)
            .bind(oldest.cast_signed())
            .fetch_all(&mut self.connection)
            .await?;
        // A damaged document is in no list. The comparison with the log names it.
        let documents = found.iter().filter_map(|(_, row, body)| {
            let decoded = decode(*row, body);
            decoded
                .inspect_err(|error| tracing::error!(%error, "the order is missing in lists"))
                .ok()
        });
        let documents: Vec<_> = documents.collect();
        let entries = self.entries(documents.iter()).await?;
        self.lists.write(entries, are_listed).await?;
        Ok(found.last().map(|(last, ..)| last.cast_unsigned()))
    }
}
