//! What has changed since a position: newest states only, in steps of bounded size.

use super::{Error, Reader};
use crate::search::Document;

/// How far the changes have been told. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCursor {
    /// Every change up to this position has been told.
    pub position: u64,
    /// Of the orders that show the name which the event behind `position` gave, those up to this
    /// one have been told; 0 if none has.
    pub row: u64,
}

/// A step through the changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// The newest state of the orders that changed, by the position they show.
    pub documents: Vec<Document>,
    /// Where the next step begins. All has been told when its position is `as_of`.
    pub next: ChangeCursor,
    /// The position that was read at.
    pub as_of: u64,
}

/// The orders that an event in (?1, ?2] changed, unless a later event of the same kind (an event
/// of the order itself, or another name) has replaced it; at most ?4 for each kind of name. An
/// order created after a name was given shows it from the beginning, and is not one that the name
/// changed. ?3 is the cursor's row. `place` and `row` are the order within an event: that of the
/// index, so that a step reads no more than it tells.
const CHANGED: &str = "
    SELECT position AS mark, 0 AS place, row FROM orders
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
    /// The next changes behind a cursor, at most about `limit`; none when all has been told, and
    /// possibly none before that.
    ///
    /// Whoever follows the cursors from `after` on until the position is `as_of` has been told
    /// every order that changed since, in the state it then has; names that an order shows count.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn changed_since(&self, after: ChangeCursor, limit: usize) -> Result<Changes, Error> {
        let mut snapshot = self.snapshot().await?;
        let as_of = snapshot.as_of;
        if after.position >= as_of {
            return Ok(Changes {
                documents: Vec::new(),
                next: after,
                as_of,
            });
        }
        let window = if after.row > 0 {
            1
        } else {
            limit.max(1) as u64
        };
        let end = as_of.min(after.position.saturating_add(window));
        let mut changed: Vec<(i64, i64, i64)> = sqlx::query_as(CHANGED)
            .bind(after.position.cast_signed())
            .bind(end.cast_signed())
            .bind(after.row.cast_signed())
            .bind(limit.max(1) as i64 + 1)
            .fetch_all(snapshot.connection())
            .await?;
        changed.sort_unstable();
        let next = step(&mut changed, limit.max(1), end);
        // An order is told where it shows the position of the change. If that lies further on, it
        // comes there; so none comes twice, and none of an older state.
        let rows: Vec<_> = changed
            .iter()
            .map(|(_, _, row)| row.cast_unsigned())
            .collect();
        let marks: std::collections::HashSet<_> = changed
            .iter()
            .map(|(mark, _, row)| (mark.cast_unsigned(), row.cast_unsigned()))
            .collect();
        let mut documents = snapshot.documents_by_rows(&rows).await?;
        documents.retain(|document| marks.contains(&(document.order.position, document.row)));
        documents.sort_by_key(|document| document.order.position);
        Ok(Changes {
            documents,
            next,
            as_of,
        })
    }
}

/// Leaves at most `limit` changes, and says where the next ones begin.
fn step(changed: &mut Vec<(i64, i64, i64)>, limit: usize, end: u64) -> ChangeCursor {
    let more = changed.get(limit).map(|(mark, ..)| *mark);
    changed.truncate(limit);
    match (changed.last(), more) {
        (Some((mark, _, row)), Some(more)) if *mark == more => ChangeCursor {
            position: mark.cast_unsigned() - 1,
            row: row.cast_unsigned(),
        },
        (Some((mark, ..)), Some(_)) => ChangeCursor {
            position: mark.cast_unsigned(),
            row: 0,
        },
        _ => ChangeCursor {
            position: end,
            row: 0,
        },
    }
}
