//! The check of a new search index against the documents, before the swap.

use read_model::{search::Difference, store::Projection};

use super::{Error, NEARLY, Parts};
use crate::fill::Fill;

/// Number of orders compared with the index in one call, and maximum number of comparisons of a
/// page whose orders keep changing.
const PAGE: u32 = 1000;
const LOOKS: u32 = 3;

impl Parts {
    /// Compares the new index with the documents, page by page, and indexes the orders that differ.
    /// Out-of-turn changes may have reached only the live index, so the new index receives them
    /// here.
    ///
    /// # Errors
    /// [`Error::Wrong`] if the index has an order that the documents lack, or if an order still
    /// differs after it was indexed in its present state.
    pub(super) async fn check_index(
        &self,
        fill: &mut Fill,
        tell: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let mut after = 0;
        let mut looks = 0;
        let mut before = Vec::new();
        loop {
            // The index need not be as far as the documents: most orders are old and equal in both,
            // and the others are indexed here. It only must not fall far behind meanwhile.
            let position = self.reader.position();
            if fill.settled().position + NEARLY < position {
                fill.reach(position).await?;
            }
            let (documents, as_of) = self.reader.orders_after(after, PAGE).await?;
            let is_last = documents.len() < PAGE as usize;
            let last = match documents.last() {
                Some(last) if !is_last => last.row,
                _ => as_of,
            };
            let found = fill.engine.compare(after + 1, last, documents).await?;
            let mut rows = Vec::new();
            for difference in found {
                match difference {
                    Difference::Extra(row) => {
                        let wrong =
                            format!("the order of event {row} is in the index, and is none");
                        return Err(Error::Wrong(wrong));
                    }
                    Difference::Missing(row) | Difference::Other(row) => rows.push(row),
                }
            }
            let brought = self.bring(fill, &rows).await?;
            let stuck = brought.iter().filter(|state| before.contains(*state));
            let stuck = stuck.count();
            if stuck > 0 {
                let wrong = format!("{stuck} orders are not in the index as they are");
                return Err(Error::Wrong(wrong));
            }
            looks += 1;
            // After `LOOKS` comparisons the rest is accepted: each order changed and was indexed in
            // every round.
            if brought.is_empty() || looks >= LOOKS {
                tell(last);
                if is_last {
                    return Ok(());
                }
                (after, looks) = (last, 0);
            }
            before = brought;
        }
    }

    /// Indexes the orders of these rows, except parked ones. Returns the row and position of each
    /// indexed order.
    async fn bring(&self, fill: &mut Fill, rows: &[u64]) -> Result<Vec<(u64, u64)>, Error> {
        let (documents, _) = self.reader.documents_by_rows(rows).await?;
        let mut accepted = Vec::new();
        for document in documents {
            let id = &document.order.order_id;
            if self
                .reader
                .is_parked(Projection::Search, id)
                .await?
                .is_none()
            {
                accepted.push(document);
            }
        }
        let states = accepted.iter().map(|it| (it.row, it.order.position));
        let states = states.collect();
        if !accepted.is_empty() {
            fill.bring(accepted).await?;
        }
        Ok(states)
    }
}
