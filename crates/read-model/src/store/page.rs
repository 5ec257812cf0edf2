//! Reads the documents of a page, which ends at a limit of bytes.

use std::collections::HashMap;

use prost::Message as _;

use super::{Error, json, snapshot::Snapshot};
use crate::{Row, search::Document};

/// Maximum encoded bytes of the orders on a page, unless it has only one: 1 MiB. Clients accept
/// messages of 4 MiB by default.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Maximum bytes of stored documents that are read at once, unless one is larger: 128 KiB. A page
/// therefore reads little beyond its end, even if the names make its documents many times larger.
const MAX_READ_BYTES: u64 = 128 << 10;

impl Snapshot {
    /// Returns the documents of the first rows that `selected` accepts, and the number of rows that
    /// the page covers. The rows are distinct; one without an order is left out.
    ///
    /// The page ends before the document that would exceed [`MAX_PAGE_BYTES`]. It covers at least
    /// one row.
    pub(super) async fn page(
        &mut self,
        rows: &[Row],
        selected: impl Fn(&Document) -> bool,
    ) -> Result<(Vec<Document>, usize), Error> {
        let sizes = self.sizes(rows).await?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut rest = rows;
        while !rest.is_empty() {
            let mut read = 0;
            let fits = |row: &&Row| {
                read += sizes.get(row).copied().unwrap_or(0);
                read <= MAX_READ_BYTES
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            for document in self.documents_by_rows(now).await? {
                if !selected(&document) {
                    continue;
                }
                bytes += document.order.encoded_len();
                if bytes > MAX_PAGE_BYTES && !page.is_empty() {
                    let covered = rows.iter().take_while(|row| **row != document.row);
                    return Ok((page, covered.count()));
                }
                page.push(document);
            }
            rest = later;
        }
        Ok((page, rows.len()))
    }

    /// Returns the bytes of the stored documents. SQLite reads them from the rows' headers.
    async fn sizes(&mut self, rows: &[Row]) -> Result<HashMap<Row, u64>, Error> {
        let sizes: Vec<(Row, i64)> = sqlx::query_as(
            "SELECT row, length(body) FROM orders WHERE row IN (SELECT value FROM json_each(?))",
        )
        .bind(json(rows)?)
        .fetch_all(self.connection())
        .await?;
        let sizes = sizes.into_iter();
        Ok(sizes
            .map(|(row, size)| (row, size.cast_unsigned()))
            .collect())
    }
}
