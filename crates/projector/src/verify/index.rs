//! Compares the search index with the documents, page by page.

use std::{collections::HashMap, pin::pin, time::Duration};

use contract::orders::v1::Order;
use read_model::{
    Row,
    search::{Document, IndexDifference, WronglyFound},
    store::{self, Difference, Projection, Reader},
};

use tokio::sync::mpsc;

use super::{Error, Finding, Found, Verifier, samples::samples, send};

/// Maximum number of orders compared with the index in one call.
const MAX_PAGE_ORDERS: u32 = 1000;

/// Maximum time that the index or the documents may make no progress while the other waits. Both
/// run at low priority, so they may be slow.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Delay before an order that differs is compared once more.
pub(super) const COMPARE_INTERVAL: Duration = Duration::from_millis(250);

/// Maximum number of findings of an inspection that wait to be sent.
const INSPECTED_CAPACITY: usize = 100;

/// Maximum number of comparisons of an order that keeps changing.
const MAX_COMPARISONS: u32 = 6;

/// A page of all orders, by row.
pub(crate) struct OrderPage {
    pub(crate) documents: Vec<Document>,
    /// The last row of the page. On the last page it is `as_of`, so that later orders do not count
    /// as extra.
    pub(crate) last: Row,
    /// The position of the documents.
    pub(crate) as_of: u64,
    pub(crate) is_last: bool,
}

impl OrderPage {
    /// Reads the orders after a row.
    pub(crate) async fn read(reader: &Reader, after: Row) -> Result<Self, store::Error> {
        let (documents, as_of) = reader.orders_after(after, MAX_PAGE_ORDERS).await?;
        let is_last = documents.len() < MAX_PAGE_ORDERS as usize;
        let last = match documents.last() {
            Some(last) if !is_last => last.row,
            _ => Row(as_of),
        };
        Ok(Self {
            documents,
            last,
            as_of,
            is_last,
        })
    }
}

impl Verifier {
    /// Compares all orders with the index, searches for samples, and inspects what leads to each order.
    pub(super) async fn verify_index(&self, found: &Found) -> Result<(), Error> {
        self.compare_pages(found).await?;
        let (sender, mut wrong) = mpsc::channel(INSPECTED_CAPACITY);
        let inspected = self.live.engine.inspect(&self.live.reader, sender);
        let sent = async move {
            while let Some(WronglyFound { order_id, problem }) = wrong.recv().await {
                let subject = format!("order {order_id}");
                send(found, Difference { subject, problem }).await?;
            }
            Ok(())
        };
        // The inspection also ends with an error if its findings cannot be sent.
        let (inspected, sent) = tokio::join!(inspected, sent);
        sent.and(inspected.map_err(Error::from))
    }

    async fn compare_pages(&self, found: &Found) -> Result<(), Error> {
        let mut after = Row::default();
        loop {
            let page = OrderPage::read(&self.live.reader, after).await?;
            let (last, as_of, is_last) = (page.last, page.as_of, page.is_last);
            let samples = samples(&page.documents);
            let differences = self.compare_page(after.following(), page).await?;
            let is_equal = differences.is_empty();
            for difference in differences {
                send(found, difference).await?;
            }
            // An order that differs is not found as it is either.
            for row in samples.into_iter().filter(|_| is_equal) {
                if let Some(difference) = self.search_sample(row).await? {
                    send(found, difference).await?;
                }
            }
            send(found, Finding::Progress(last.0, as_of)).await?;
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }

    /// Compares orders with the index. The index may be behind the documents or ahead of them.
    /// Orders that differ are compared once more when both are at the same position.
    ///
    /// An order that changed between all [`MAX_COMPARISONS`] is not reported: the index received
    /// each change.
    async fn compare_page(&self, first: Row, page: OrderPage) -> Result<Vec<Difference>, Error> {
        let OrderPage {
            mut documents,
            last,
            mut as_of,
            ..
        } = page;
        let (reader, index) = (&self.live.reader, self.live.indexer.progress());
        let mut suspects: Option<Vec<Row>> = None;
        let mut certain = Vec::new();
        for comparison in 1..=MAX_COMPARISONS {
            // The first comparison does not wait for the index: most orders are old and equal in
            // both.
            if comparison > 1 {
                self.wait_for_index(as_of).await?;
            }
            let orders: HashMap<_, _> = documents
                .iter()
                .map(|document| (document.row, document.order.clone()))
                .collect();
            let mut found = self.live.engine.compare(first, last, documents).await?;
            if let Some(suspects) = &suspects {
                found.retain(|difference| suspects.contains(&difference.row()));
            }
            if found.is_empty() {
                break;
            }
            if comparison > 1 {
                tokio::time::sleep(COMPARE_INTERVAL).await;
            }
            let ahead = index.report().position;
            let reached = || reader.position();
            wait_while_progressing(ahead, reached, reader.wait_for(ahead)).await??;
            let rows: Vec<_> = orders
                .keys()
                .copied()
                .chain(found.iter().map(IndexDifference::row))
                .collect();
            (documents, as_of) = reader.documents_by_rows(&rows).await?;
            let now: HashMap<_, _> = documents.iter().map(|d| (d.row, &d.order)).collect();
            if comparison > 1 {
                let unchanged = |row| now.get(&row).copied() == orders.get(&row);
                let (same, changed): (Vec<_>, Vec<_>) = found
                    .into_iter()
                    .partition(|difference| unchanged(difference.row()));
                certain.extend(self.describe(same, &orders).await?);
                found = changed;
            }
            suspects = Some(found.iter().map(IndexDifference::row).collect());
        }
        Ok(certain)
    }

    /// Waits until the index has all changes up to a position.
    pub(super) async fn wait_for_index(&self, position: u64) -> Result<(), Error> {
        let index = self.live.indexer.progress();
        let indexed = || index.report().position;
        wait_while_progressing(position, indexed, index.wait_for_names(position)).await
    }

    /// Describes each difference. Adds the error of the engine if the order is parked.
    async fn describe(
        &self,
        found: Vec<IndexDifference>,
        orders: &HashMap<Row, Order>,
    ) -> Result<Vec<Difference>, Error> {
        let mut described = Vec::new();
        for difference in found {
            let row = difference.row();
            let subject = match orders.get(&row) {
                Some(order) => format!("order {}", order.order_id),
                None => format!("the order of event {row}"),
            };
            let mut problem = match difference {
                IndexDifference::Missing(_) => "is missing in the search index",
                IndexDifference::Other(_) => "is another one in the search index",
                IndexDifference::Extra(_) => "is in the search index, and is no order",
            }
            .to_owned();
            if let Some(order) = orders.get(&row) {
                let refused = self
                    .live
                    .reader
                    .is_parked(Projection::Search, &order.order_id)
                    .await?;
                if let Some(error) = refused {
                    problem = format!("{problem}: it refuses it: {error}");
                }
            }
            described.push(Difference { subject, problem });
        }
        Ok(described)
    }
}

/// Waits until `arrives` completes.
///
/// # Errors
/// [`Error::Behind`] if the position does not advance for [`STALL_TIMEOUT`].
async fn wait_while_progressing<T>(
    wanted: u64,
    reached: impl Fn() -> u64,
    arrives: impl Future<Output = T>,
) -> Result<T, Error> {
    let mut arrives = pin!(arrives);
    loop {
        let position = reached();
        match tokio::time::timeout(STALL_TIMEOUT, arrives.as_mut()).await {
            Ok(arrived) => return Ok(arrived),
            Err(_) if reached() > position => {}
            Err(_) => return Err(Error::Behind { position, wanted }),
        }
    }
}
