//! One state of the lists: what the index has, and what has changed since.

use std::{collections::HashMap, fmt, sync::Arc};

use tantivy::Searcher;

use super::{Entry, State, schema::Fields};
use crate::Row;

/// Changes are added to the last chunk up to this number. A new snapshot copies the last chunk, and
/// shares the others.
const CHUNK: usize = 512;

/// A change of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The position of the documents after the change.
    pub(crate) position: u64,
    /// The order before; `None` if it is new.
    pub(crate) old: Option<Arc<Entry>>,
    /// The order after the change.
    pub(crate) new: Arc<Entry>,
}

impl Change {
    /// Returns the weight in memory: 1 for an order of few products.
    fn weight(&self) -> usize {
        1 + self.new.products.len() / 16
    }
}

/// A commit of the index, with the changes after it.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(super) fields: Fields,
    pub(super) searcher: Searcher,
    /// The position of the commit.
    pub(super) base: u64,
    /// The changes after the commit by position, in chunks.
    chunks: Vec<Arc<Vec<Change>>>,
    /// The sum of the changes' weights.
    weight: usize,
    /// The position of the documents.
    pub(crate) position: u64,
    /// How often an order of the documents had changed without a new event.
    pub(crate) retries: u64,
    /// False while the index is filled: it then has only some of the orders.
    pub(crate) is_complete: bool,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut snapshot = to.debug_struct("Snapshot");
        snapshot.field("base", &self.base);
        snapshot
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(fields: Fields, searcher: Searcher, state: &State) -> Self {
        let State {
            position, retries, ..
        } = *state;
        Self {
            fields,
            searcher,
            base: position,
            chunks: Vec::new(),
            weight: 0,
            position,
            retries,
            is_complete: true,
        }
    }

    /// Returns the weight of the changes after the base.
    pub(super) fn pending(&self) -> usize {
        self.weight
    }

    /// Adds changes, which lead to `state`.
    pub(super) fn with(&self, changes: Vec<Change>, state: &State) -> Self {
        let mut next = self.clone();
        next.position = state.position;
        next.retries = state.retries;
        next.push(changes);
        next
    }

    /// Returns the same state on a commit of the index that has the first `covered` changes.
    pub(super) fn on(&self, searcher: Searcher, base: &State, covered: usize) -> Self {
        let mut next = Self::new(self.fields, searcher, base);
        next.position = self.position;
        next.retries = self.retries;
        next.is_complete = self.is_complete;
        let rest: Vec<_> = self.changes().skip(covered).cloned().collect();
        for chunk in rest.chunks(CHUNK) {
            next.push(chunk.to_vec());
        }
        next
    }

    fn push(&mut self, changes: Vec<Change>) {
        self.weight += changes.iter().map(Change::weight).sum::<usize>();
        match self.chunks.last_mut() {
            Some(last) if last.len() + changes.len() <= CHUNK => {
                Arc::make_mut(last).extend(changes);
            }
            _ if changes.is_empty() => {}
            _ => self.chunks.push(Arc::new(changes)),
        }
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns the lists at a position of the documents up to that of this snapshot; `None` if the
    /// index has been committed past it.
    pub(crate) fn at(self: Arc<Self>, position: u64) -> Option<View> {
        (self.base <= position).then_some(View {
            snapshot: self,
            position,
        })
    }
}

/// The lists at one position.
#[derive(Clone)]
pub(crate) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    position: u64,
}

impl View {
    /// Returns the changes between the base and the position.
    ///
    /// An order that changed several times occurs as often. Sums over all changes that subtract
    /// what an order was and add what it became are right nevertheless: an order was each time what
    /// the change before has made of it.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        let position = self.position;
        let changes = self.snapshot.changes();
        changes.take_while(move |change| change.position <= position)
    }

    /// Returns the changed orders as they are at the position.
    pub(super) fn changed(&self) -> HashMap<Row, &Arc<Entry>> {
        let changes = self.changes();
        changes
            .map(|change| (change.new.row, &change.new))
            .collect()
    }
}
