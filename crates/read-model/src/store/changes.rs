//! Returns the orders that changed after a position: newest states only, in steps of bounded size.

use std::collections::HashMap;

use super::{Checkpoint, Error, Reader};
use crate::{Row, search::Document};

/// A position in the sequence of changes. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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

/// Selects the orders that an event in (?1, ?2] changed, unless a later event of the same kind
/// replaced the change.
///
/// The kinds are an event of the order itself and a new name; each kind of name yields at most ?4
/// rows. An order created after a name was given has always shown it, so the name did not change
/// that order. ?3 is the cursor's row. `created_at` and `row` follow the index within one event, so
/// that a step reads no more than it returns.
const SELECT_CHANGES: &str = "
    SELECT position AS changed_at, 0 AS created_at, row FROM orders
        WHERE row > ?1 AND row <= ?2 AND position = row
    UNION ALL
    SELECT position, 0, row FROM orders
        WHERE position > ?1 AND position <= ?2 AND position > row
    UNION ALL
    SELECT * FROM (
        SELECT c.position, o.created_at, o.row
        FROM customers c CROSS JOIN orders o INDEXED BY orders_by_customer
        WHERE c.position > ?1 AND c.position <= ?2 AND o.customer_id = c.customer_id
            AND +o.row < c.position
            AND (o.created_at, o.row) > (
                coalesce((SELECT created_at FROM orders WHERE row = ?3), -9223372036854775808), ?3)
        ORDER BY c.position, o.created_at, o.row LIMIT ?4)
    UNION ALL
    SELECT * FROM (
        SELECT p.position, 0, o.row FROM products p CROSS JOIN order_products o
        WHERE p.position > ?1 AND p.position <= ?2 AND o.product_id = p.product_id
            AND o.row < p.position AND o.row > ?3
        ORDER BY p.position, o.row LIMIT ?4)";

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
    /// - [`Error::Sqlite`]: the file cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    pub async fn changed_since(&self, after: ChangeCursor, limit: usize) -> Result<Changes, Error> {
        let mut snapshot = self.snapshot().await?;
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
        let mut changed: Vec<(i64, i64, Row)> = sqlx::query_as(SELECT_CHANGES)
            .bind(after.position.cast_signed())
            .bind(end.cast_signed())
            .bind(after.row)
            .bind(limit.max(1) as i64 + 1)
            .fetch_all(snapshot.connection())
            .await?;
        changed.sort_unstable();
        let mut next = truncate(&mut changed, limit.max(1), end);
        // A document comes only with the change whose position it shows. A later change returns it
        // later, so no order comes twice or in an older state.
        let newest: HashMap<Row, i64> = changed
            .iter()
            .map(|(position, _, row)| (*row, *position))
            .collect();
        changed.retain(|(position, _, row)| newest.get(row) == Some(position));
        let rows: Vec<_> = changed.iter().map(|(_, _, row)| *row).collect();
        let is_shown = |document: &Document| {
            newest.get(&document.row) == Some(&document.order.position.cast_signed())
        };
        let (documents, covered) = snapshot.page(&rows, is_shown).await?;
        if covered < changed.len() {
            next = truncate(&mut changed, covered, end);
        }
        Ok(Changes {
            documents,
            next,
            as_of,
            checkpoint: snapshot.checkpoint.take(),
        })
    }
}

/// Truncates the changes to `limit`, and returns the cursor of the next step.
fn truncate(changed: &mut Vec<(i64, i64, Row)>, limit: usize, end: u64) -> ChangeCursor {
    let more = changed.get(limit).map(|(position, ..)| *position);
    changed.truncate(limit);
    match (changed.last(), more) {
        (Some((position, _, row)), Some(more)) if *position == more => ChangeCursor {
            position: position.cast_unsigned() - 1,
            row: *row,
        },
        (Some((position, ..)), Some(_)) => ChangeCursor::at(position.cast_unsigned()),
        _ => ChangeCursor::at(end),
    }
}
