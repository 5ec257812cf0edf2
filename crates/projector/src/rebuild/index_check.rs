//! The check of a new search index against the documents, before the switch.

use read_model::{Row, search::IndexDifference, store::Projection};

use super::{Error, MAX_SWITCH_LAG, Shared};
use crate::{index_updater::IndexUpdater, verify::OrderPage};

/// Maximum number of comparisons of a page whose orders keep changing.
const MAX_COMPARISONS: u32 = 3;

impl Shared {
    /// Compares the new index with the documents, page by page, and indexes the orders that differ.
    /// Out-of-turn changes may have reached only the live index, so the new index receives them
    /// here.
    ///
    /// # Errors
    /// [`Error::Wrong`] if the index has an order that the documents lack, or if an order still
    /// differs after it was indexed in its present state.
    pub(super) async fn check_index(
        &self,
        updater: &mut IndexUpdater,
        report: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), Error> {
        updater.watch_revisions();
        let mut after = Row::default();
        let mut comparisons = 0;
        let mut indexed_before = Vec::new();
        loop {
            // The index need not be as far as the documents: most orders are old and equal in both,
            // and the others are indexed here. It only must not fall far behind meanwhile.
            let position = self.live.reader.position();
            if updater.applied().position + MAX_SWITCH_LAG < position {
                updater.reach(position, 0).await?;
            }
            let page = OrderPage::read(&self.live.reader, after).await?;
            let (is_last, last) = (page.is_last, page.last);
            let found = updater
                .engine
                .compare(after.following(), last, page.documents);
            let indexed = self
                .reindex(updater, &different_rows(found.await?)?)
                .await?;
            let unchanged = indexed
                .iter()
                .filter(|state| indexed_before.contains(*state));
            let unchanged = unchanged.count();
            if unchanged > 0 {
                let problem = format!("{unchanged} orders are not in the index as they are");
                return Err(Error::Wrong(problem));
            }
            comparisons += 1;
            // After `MAX_COMPARISONS` the rest is accepted: each order changed and was indexed in
            // every round.
            if indexed.is_empty() || comparisons >= MAX_COMPARISONS {
                report(last.0);
                if is_last {
                    return Ok(());
                }
                (after, comparisons) = (last, 0);
            }
            indexed_before = indexed;
        }
    }

    /// Indexes the orders of these rows, except parked ones. Returns the row and position of each
    /// indexed order.
    async fn reindex(
        &self,
        updater: &mut IndexUpdater,
        rows: &[Row],
    ) -> Result<Vec<(Row, u64)>, Error> {
        let (documents, _) = self.live.reader.documents_by_rows(rows).await?;
        let mut accepted = Vec::new();
        for document in documents {
            let id = &document.order.order_id;
            let parked = self.live.reader.is_parked(Projection::Search, id).await?;
            if parked.is_none() {
                accepted.push(document);
            }
        }
        let states = accepted.iter().map(|it| (it.row, it.order.position));
        let states = states.collect();
        if !accepted.is_empty() {
            updater.index(accepted).await?;
        }
        Ok(states)
    }
}

/// Returns the rows of the orders that the index lacks or has in another state.
///
/// # Errors
/// [`Error::Wrong`] if the index has an order that does not exist.
fn different_rows(found: Vec<IndexDifference>) -> Result<Vec<Row>, Error> {
    let rows = found.into_iter().map(|difference| match difference {
        IndexDifference::Missing(row) | IndexDifference::Other(row) => Ok(row),
        IndexDifference::Extra(row) => Err(Error::Wrong(format!(
            "the order of event {row} is in the index, and is none"
        ))),
    });
    rows.collect()
}
