//! Compares what leads to each order in the newest commit with the words and values of its document.
//!
//! The terms of each segment are read once. Each document gets the sum of the terms that lead to it,
//! and the sum of the terms of its order must be the same. The columns are compared value by value.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tantivy::{DocId, SegmentReader};
use tokio::sync::mpsc;

use super::column_inspection::Columns;
use super::digest::digest;
use super::found_by::{sums, terms_of};
use super::snapshot::{Identity, IndexSnapshot};
use super::{State, TantivyIndex};
use crate::Row;
use crate::postings::{self, Window};
use crate::search::{Document, Error, WronglyFound};
use crate::store::Reader;

/// Maximum number of documents that are compared at once.
const MAX_COMPARED: usize = 1000;

/// Maximum number of orders of a window whose terms are read once more to name a wrong one. They may
/// have many terms.
const MAX_EXPLAINED: usize = 20;

impl TantivyIndex {
    /// Sends each order that the newest commit finds wrongly, among those that it has as they are
    /// now.
    pub(super) async fn inspect_newest(
        &self,
        orders: &Reader,
        found: &mpsc::Sender<WronglyFound>,
    ) -> Result<(), Error> {
        let snapshot = self.state.newest();
        for window in postings::windows(snapshot.searcher.segment_readers()) {
            let of = Arc::clone(&snapshot);
            let gathered = self.blocking(move |state| Inspection::gather(state, of, window));
            let inspection = Arc::new(gathered.await?);
            self.inspect_window(inspection, orders, found).await?;
        }
        Ok(())
    }

    async fn inspect_window(
        &self,
        inspection: Arc<Inspection>,
        orders: &Reader,
        found: &mpsc::Sender<WronglyFound>,
    ) -> Result<(), Error> {
        let mut unexplained = Vec::new();
        let documents = inspection.window.documents.clone();
        for first in documents.clone().step_by(MAX_COMPARED) {
            let end = documents.end.min(first + MAX_COMPARED as DocId);
            let of = Arc::clone(&inspection);
            let stored = self.blocking(move |_| of.stored(first..end)).await?;
            let rows: Vec<_> = stored.iter().map(|stored| stored.row).collect();
            let (orders, _) = orders
                .documents_by_rows(&rows)
                .await
                .map_err(Error::failed)?;
            let of = Arc::clone(&inspection);
            let compared = self.blocking(move |state| Ok(of.compare(state, stored, orders)));
            for wrong in compared.await? {
                match wrong {
                    Wrong::Terms(inspected) if unexplained.len() < MAX_EXPLAINED => {
                        unexplained.push(inspected);
                    }
                    wrong => send(found, wrong.told()).await?,
                }
            }
        }
        if unexplained.is_empty() {
            return Ok(());
        }
        let explained = self.blocking(move |state| inspection.explain(state, unexplained));
        for wrong in explained.await? {
            send(found, wrong).await?;
        }
        Ok(())
    }
}

async fn send(found: &mpsc::Sender<WronglyFound>, wrong: WronglyFound) -> Result<(), Error> {
    let sent = found.send(wrong).await;
    sent.map_err(|_| Error::failed("nobody waits for the inspection"))
}

/// A document that exists in the index.
struct Stored {
    id: DocId,
    row: Row,
    digest: u64,
}

/// An order that the index has as it is now.
struct Inspected {
    id: DocId,
    document: Document,
}

/// A fault of an order in the index.
enum Wrong {
    Value(Inspected, &'static str),
    Terms(Inspected),
}

impl Wrong {
    fn told(self) -> WronglyFound {
        let (inspected, problem) = match self {
            Self::Value(inspected, field) => {
                let problem = format!("has another {field} in the search index");
                (inspected, problem)
            }
            Self::Terms(inspected) => {
                let problem = "is found in the search index by other words than it has";
                (inspected, problem.to_owned())
            }
        };
        WronglyFound {
            order_id: inspected.document.order.order_id,
            problem,
        }
    }
}

/// The documents of a window, with the sums of the terms that lead to them.
struct Inspection {
    snapshot: Arc<IndexSnapshot>,
    window: Window,
    sums: Vec<u64>,
    identity: Identity,
    columns: Columns,
}

impl Inspection {
    fn gather(
        state: &State,
        snapshot: Arc<IndexSnapshot>,
        window: Window,
    ) -> tantivy::Result<Self> {
        let segment = &snapshot.searcher.segment_readers()[window.segment];
        Ok(Self {
            sums: sums(segment, &state.fields, &window)?,
            identity: Identity::of(segment)?,
            columns: Columns::of(segment)?,
            snapshot,
            window,
        })
    }

    fn segment(&self) -> &SegmentReader {
        &self.snapshot.searcher.segment_readers()[self.window.segment]
    }

    /// Returns the documents of a range that exist.
    fn stored(&self, documents: Range<DocId>) -> tantivy::Result<Vec<Stored>> {
        let segment = self.segment();
        let alive = documents.filter(|id| !segment.is_deleted(*id));
        let stored = alive.map(|id| {
            let (row, digest) = self.identity.get(id);
            Stored { id, row, digest }
        });
        Ok(stored.collect())
    }

    /// Returns what is wrong with the orders that are as they were when they were indexed.
    fn compare(&self, state: &State, stored: Vec<Stored>, orders: Vec<Document>) -> Vec<Wrong> {
        let orders = orders.into_iter();
        let mut orders: HashMap<_, _> = orders.map(|it| (it.row, it)).collect();
        let wrong = stored.into_iter().filter_map(|stored| {
            let document = orders.remove(&stored.row)?;
            if digest(&document.order) != stored.digest {
                return None;
            }
            let id = stored.id;
            let sum = self.sums[(id - self.window.documents.start) as usize];
            let has_wrong_terms = sum != state.fields.sum(&document);
            let wrong_value = self.columns.wrong(id, &document.order);
            let inspected = Inspected { id, document };
            match wrong_value {
                Some(field) => Some(Wrong::Value(inspected, field)),
                None => has_wrong_terms.then_some(Wrong::Terms(inspected)),
            }
        });
        wrong.collect()
    }

    /// Names a wrong term of each of these documents.
    fn explain(
        &self,
        state: &State,
        documents: Vec<Inspected>,
    ) -> tantivy::Result<Vec<WronglyFound>> {
        let wanted = documents.iter().map(|inspected| inspected.id);
        let mut found = terms_of(self.segment(), &state.fields, &self.window, wanted)?;
        let explained = documents.into_iter().map(|Inspected { id, document }| {
            let found = found.remove(&id).unwrap_or_default();
            WronglyFound {
                problem: state.fields.explain(&document, &found),
                order_id: document.order.order_id,
            }
        });
        Ok(explained.collect())
    }
}
