//! Returns the orders that changed after a position: newest states only, in steps of bounded size.
//!
//! An order changes by its own events, and by the new names that it shows. A watch follows both in
//! one sequence. The indexer follows them apart, since a name may change a million orders at once.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Checkpoint, Error, Reader, list::scan, snapshot::Snapshot};
use crate::{
    Row,
    lists::{GivenName, View},
    search::Document,
};

/// Maximum number of names whose orders are read in one call.
const MAX_NAMES: usize = 1000;

/// A position in the sequence of changes. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChangeCursor {
    /// Every change up to this position has been returned.
    pub position: u64,
    /// Orders up to this row have been returned for the name that the next event gave; row 0 if
    /// none has.
    pub row: Row,
}

impl ChangeCursor {
    /// Returns the cursor of a caller that has every change up to this position.
    #[must_use]
    pub fn at(position: u64) -> Self {
        Self {
            position,
            row: Row::default(),
        }
    }
}

/// One step through the changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The newest state of the changed orders, sorted by their positions.
    pub documents: Vec<Document>,
    /// The cursor of the next step. The changes are complete when its position is `as_of`.
    pub next: ChangeCursor,
    /// The position of the snapshot.
    pub as_of: u64,
    /// The checkpoint of the snapshot; `None` before the first batch.
    pub checkpoint: Option<Checkpoint>,
}

/// Selects the orders of which an own event in (?1, ?2] is the newest.
const SELECT_CHANGES: &str = "
    SELECT position, row FROM orders WHERE row > ?1 AND row <= ?2 AND position = row
    UNION ALL
    SELECT position, row FROM orders WHERE position > ?1 AND position <= ?2 AND position > row";

/// The orders that show names which are newer than they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The distinct rows of the orders, each with the position of its first new name, sorted.
    pub orders: Vec<(u64, Row)>,
    /// The cursor after these orders.
    pub next: ChangeCursor,
}

impl Renamed {
    /// Returns the cursor after the first `count` orders, of which there is one at least.
    #[must_use]
    pub fn cursor(&self, count: usize) -> ChangeCursor {
        match (
            self.orders.get(count.wrapping_sub(1)),
            self.orders.get(count),
        ) {
            (Some((position, row)), Some(_)) => ChangeCursor {
                position: position - 1,
                row: *row,
            },
            _ => self.next,
        }
    }
}

/// Selects the names that an event in (?1, ?2] gave and no later event replaced, by position: the
/// first ?3 of them.
const SELECT_NAMES: &str = "
    SELECT position, number, true FROM customers WHERE position > ?1 AND position <= ?2
    UNION ALL
    SELECT position, number, false FROM products WHERE position > ?1 AND position <= ?2
    ORDER BY position LIMIT ?3";

impl Reader {
    /// Returns the next changes after a cursor: at most `limit`, or fewer if their documents reach
    /// [`MAX_PAGE_BYTES`]. A limit of 0 counts as 1.
    ///
    /// [`MAX_PAGE_BYTES`]: super::MAX_PAGE_BYTES
    ///
    /// A step may be empty before the changes are complete. A caller follows the cursors from
    /// `after` until the position is `as_of`. The caller then has every order that changed since
    /// `after`, in its state at `as_of`. A new customer or product name also counts as a change.
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    /// - [`Error::Unlisted`]: there are new names, and the index of lists is being filled.
    /// - [`Error::Stopped`]: the writer is gone.
    pub async fn changed_since(&self, after: ChangeCursor, limit: usize) -> Result<Changes, Error> {
        let (mut snapshot, view) = self.snapshot_for_names(after.position).await?;
        let as_of = snapshot.as_of;
        if after.position >= as_of {
            return Ok(Changes {
                documents: Vec::new(),
                next: after,
                as_of,
                checkpoint: snapshot.checkpoint,
            });
        }
        let window = if after.row > Row::default() {
            1
        } else {
            limit.max(1) as u64
        };
        let end = as_of.min(after.position.saturating_add(window));
        let mut changed = snapshot.own_changes(after.position, end).await?;
        // No event gives two names.
        let given = (end - after.position) as usize;
        let names = snapshot.names_given(after.position, end, given).await?;
        if let Some(view) = view
            && !names.is_empty()
        {
            let limit = limit.max(1) + 1;
            let rows = scan(view, move |view, caller| {
                view.orders_of(&names, after.row, limit, caller)
            });
            changed.extend(rows.await?);
        }
        changed.sort_unstable();
        let next = truncate(&mut changed, limit.max(1), end);
        // A document comes only with the change whose position it shows. A later change returns it
        // later, so no order comes twice or in an older state.
        let newest: HashMap<Row, u64> = changed
            .iter()
            .map(|(position, row)| (*row, *position))
            .collect();
        changed.retain(|(position, row)| newest.get(row) == Some(position));
        let is_shown =
            |document: &Document| newest.get(&document.row) == Some(&document.order.position);
        snapshot.changes(changed, next, end, is_shown).await
    }

    /// Returns the next orders of which an own event is newer than a position, as
    /// [`Reader::changed_since`] does. A new name is no change of theirs.
    ///
    /// # Errors
    /// As [`Reader::changed_since`], without those of the lists.
    pub async fn own_changes_since(&self, after: u64, limit: usize) -> Result<Changes, Error> {
        let mut snapshot = self.snapshot().await?;
        let limit = limit.max(1);
        let end = snapshot.as_of.min(after.saturating_add(limit as u64));
        let mut changed = snapshot.own_changes(after, end).await?;
        changed.sort_unstable();
        let next = truncate(&mut changed, limit, end.max(after));
        snapshot.changes(changed, next, end, |_| true).await
    }

    /// Returns the next orders that show a name which is newer than the cursor and than themselves:
    /// at most `limit`, for at most 1000 names.
    ///
    /// An order with several new names comes once in a call, and may come again in later ones. A caller
    /// follows the cursors until the position is that of the documents.
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Unlisted`]: there are new names, and the index of lists is being filled.
    /// - [`Error::Stopped`]: the writer is gone.
    pub async fn renamed_since(&self, after: ChangeCursor, limit: usize) -> Result<Renamed, Error> {
        let (mut snapshot, view) = self.snapshot_for_names(after.position).await?;
        let as_of = snapshot.as_of.max(after.position);
        let names = snapshot
            .names_given(after.position, as_of, MAX_NAMES)
            .await?;
        let end = match names.get(MAX_NAMES - 1) {
            Some(last) => last.position,
            None => as_of,
        };
        // A later event may have replaced the name whose orders have been returned in part.
        let row = match names.first() {
            Some(name) if name.position == after.position + 1 => after.row,
            _ => Row::default(),
        };
        let mut orders = Vec::new();
        if let Some(view) = view
            && !names.is_empty()
        {
            let rows = scan(view, move |view, caller| {
                view.orders_of(&names, row, limit.max(1) + 1, caller)
            });
            orders = rows.await?;
        }
        let next = truncate(&mut orders, limit.max(1), end);
        let mut rows = HashSet::with_capacity(orders.len());
        orders.retain(|(_, row)| rows.insert(*row));
        Ok(Renamed { orders, next })
    }

    /// Begins a snapshot, together with the lists if an event after a position has given a name. Only
    /// then it fails while the index of lists is being filled.
    async fn snapshot_for_names(&self, after: u64) -> Result<(Snapshot, Option<View>), Error> {
        let mut snapshot = self.snapshot().await?;
        let end = snapshot.as_of;
        if snapshot.names_given(after, end, 1).await?.is_empty() {
            return Ok((snapshot, None));
        }
        drop(snapshot);
        let (snapshot, view) = self.snapshot_with_lists().await?;
        Ok((snapshot, Some(view)))
    }
}

impl Snapshot {
    /// Reads the documents of changes before `next` and up to `end`, those that are shown. Ends earlier
    /// if they fill a page.
    async fn changes(
        mut self,
        mut changed: Vec<(u64, Row)>,
        mut next: ChangeCursor,
        end: u64,
        is_shown: impl Fn(&Document) -> bool,
    ) -> Result<Changes, Error> {
        let rows: Vec<_> = changed.iter().map(|(_, row)| *row).collect();
        let (documents, covered) = self.page(&rows, is_shown).await?;
        if covered < changed.len() {
            next = truncate(&mut changed, covered, end);
        }
        Ok(Changes {
            documents,
            next,
            as_of: self.as_of,
            checkpoint: self.checkpoint.take(),
        })
    }

    /// Returns the orders of which an own event in (`after`, `end`] is the newest.
    async fn own_changes(&mut self, after: u64, end: u64) -> Result<Vec<(u64, Row)>, Error> {
        let changed: Vec<(i64, Row)> = sqlx::query_as(SELECT_CHANGES)
            .bind(after.cast_signed())
            .bind(end.cast_signed())
            .fetch_all(self.connection())
            .await?;
        let changed = changed.into_iter();
        Ok(changed
            .map(|(position, row)| (position.cast_unsigned(), row))
            .collect())
    }

    /// Returns the first `limit` names that events in (`after`, `end`] gave, unless a later event
    /// replaced them.
    async fn names_given(
        &mut self,
        after: u64,
        end: u64,
        limit: usize,
    ) -> Result<Vec<GivenName>, Error> {
        let names: Vec<(i64, i64, bool)> = sqlx::query_as(SELECT_NAMES)
            .bind(after.cast_signed())
            .bind(end.cast_signed())
            .bind((limit as u64).cast_signed())
            .fetch_all(self.connection())
            .await?;
        let names = names.into_iter();
        Ok(names
            .map(|(position, number, of_customer)| GivenName {
                position: position.cast_unsigned(),
                number: number.cast_unsigned(),
                of_customer,
            })
            .collect())
    }
}

/// Truncates the changes to `limit`, and returns the cursor of the next step.
fn truncate(changed: &mut Vec<(u64, Row)>, limit: usize, end: u64) -> ChangeCursor {
    let more = changed.get(limit).map(|(position, _)| *position);
    changed.truncate(limit);
    match (changed.last(), more) {
        (Some(&(position, row)), Some(more)) if position == more => ChangeCursor {
            position: position - 1,
            row,
        },
        (Some((position, _)), Some(_)) => ChangeCursor::at(*position),
        _ => ChangeCursor::at(end),
    }
}
