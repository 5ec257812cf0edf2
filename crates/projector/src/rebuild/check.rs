use read_model::{search::Difference, store::Projection};

use super::{Error, Parts};
use crate::fill::Fill;

/// Orders that are compared with an index in one go, and times that those are compared again which
/// differ.
const PAGE: u32 = 1000;
const LOOKS: u32 = 20;

impl Parts {
    /// Compares the index that is being made with the documents. What was brought out of turn to the
    /// one that answers, this one may not have: it is brought it now.
    pub(super) async fn check_index(
        &self,
        fill: &mut Fill,
        tell: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let mut after = 0;
        let mut looks = 0;
        let mut before = Vec::new();
        loop {
            let (documents, as_of) = self.reader.orders_after(after, PAGE).await?;
            // Most orders are old: they are the same in both, wherever the index is.
            if looks > 0 {
                fill.reach(as_of).await?;
            }
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
            if looks == 0 && !rows.is_empty() {
                looks = 1;
                continue;
            }
            let brought = self.bring(fill, &rows).await?;
            let stuck = brought.iter().filter(|state| before.contains(*state));
            let stuck = stuck.count();
            if stuck > 0 {
                let wrong = format!("{stuck} orders are not in the index as they are");
                return Err(Error::Wrong(wrong));
            }
            looks += 1;
            // What has changed at every look has been brought anew each time.
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

    /// Brings orders to the index, but those that it refuses; their rows, and the positions that they
    /// showed.
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
