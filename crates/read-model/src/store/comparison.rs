//! Compares the documents with a rebuilt copy, table by table, from one snapshot of each.

use std::{collections::BTreeMap, future::ready, path::Path};

use contract::orders::v1::Order;
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use prost::Message as _;
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::mpsc;

use super::{
    Checkpoint, Error, Reader, checkpoint,
    list::scan,
    numbers::known_entries,
    snapshot::{Snapshot, decode},
};
use crate::{Row, lists::Entry, search::Document};

/// One difference from the rebuilt copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The order, customer, product, statistics or file that differs.
    pub subject: String,
    /// The problem, as a predicate of the subject.
    pub problem: String,
}

/// Queries that each return the subject and problem of every difference; `truth` is the rebuilt
/// copy. Each query reads in the order of a key and holds one row of either side.
const SELECT_DIFFERENCES: [&str; 11] = [
    "SELECT 'order ' || t.order_id, 'is missing' FROM truth.orders t
        LEFT JOIN main.orders m ON m.row = t.row WHERE m.row IS NULL",
    "SELECT 'order ' || m.order_id, 'is not in the log' FROM main.orders m
        LEFT JOIN truth.orders t ON t.row = m.row WHERE t.row IS NULL",
    "SELECT 'order ' || t.order_id, 'is found by something else than it shows'
        FROM truth.orders t JOIN main.orders m ON m.row = t.row
        WHERE (m.order_id, m.position) IS NOT (t.order_id, t.position)",
    "SELECT 'customer ' || t.customer_id,
        coalesce('is called ' || m.name || ' since event ' || m.position, 'has no name')
        || ', instead of ' || t.name || ' since event ' || t.position
        FROM truth.customers t LEFT JOIN main.customers m USING (customer_id)
        WHERE t.name IS NOT NULL AND (m.name, m.position) IS NOT (t.name, t.position)",
    "SELECT 'customer ' || m.customer_id, 'is not in the log' FROM main.customers m
        LEFT JOIN truth.customers t USING (customer_id)
        WHERE t.name IS NULL AND m.name IS NOT NULL",
    "SELECT 'product ' || t.product_id,
        coalesce('is called ' || m.name || ' since event ' || m.position, 'has no name')
        || ', instead of ' || t.name || ' since event ' || t.position
        FROM truth.products t LEFT JOIN main.products m USING (product_id)
        WHERE t.name IS NOT NULL AND (m.name, m.position) IS NOT (t.name, t.position)",
    "SELECT 'product ' || m.product_id, 'is not in the log' FROM main.products m
        LEFT JOIN truth.products t USING (product_id)
        WHERE t.name IS NULL AND m.name IS NOT NULL",
    "SELECT 'statistics of '
        || CASE t.scope WHEN 0 THEN 'all orders' ELSE 'day ' || t.subject END,
        'count ' || coalesce(m.orders, 0) || ' orders in state ' || t.status || ' and ' || t.currency
        || ', with a sum of ' || (coalesce(m.high * 4294967296.0 + m.low, 0) / 10000) || ', instead of '
        || t.orders || ' with ' || ((t.high * 4294967296.0 + t.low) / 10000)
        FROM truth.statistics t LEFT JOIN main.statistics m USING (scope, subject, currency, status)
        WHERE (coalesce(m.orders, 0), coalesce(m.high, 0), coalesce(m.low, 0))
            IS NOT (t.orders, t.high, t.low)",
    "SELECT 'statistics of '
        || CASE m.scope WHEN 0 THEN 'all orders' ELSE 'day ' || m.subject END,
        'count ' || m.orders || ' orders in state ' || m.status || ' and ' || m.currency
        || ', where there are none'
        FROM main.statistics m LEFT JOIN truth.statistics t USING (scope, subject, currency, status)
        WHERE t.orders IS NULL AND (m.orders, m.high, m.low) IS NOT (0, 0, 0)",
    "SELECT CASE t.aggregate_type WHEN 1 THEN 'order ' WHEN 2 THEN 'customer ' ELSE 'product ' END
        || t.aggregate_id,
        'is not parked, although ' || t.error FROM truth.parked t
        LEFT JOIN main.parked m USING (projection, aggregate_type, aggregate_id)
        WHERE m.error IS NULL",
    "SELECT CASE m.aggregate_type WHEN 1 THEN 'order ' WHEN 2 THEN 'customer ' ELSE 'product ' END
        || m.aggregate_id,
        'is parked, and could be projected' FROM main.parked m
        LEFT JOIN truth.parked t USING (projection, aggregate_type, aggregate_id)
        WHERE m.projection = 'documents' AND t.error IS NULL",
];

/// Selects the documents with different bodies.
const SELECT_DIFFERENT_BODIES: &str = "SELECT t.order_id, m.body, t.body
    FROM truth.orders t JOIN main.orders m ON m.row = t.row WHERE m.body <> t.body";

/// A snapshot of the documents, attached to a rebuilt copy.
#[derive(Debug)]
pub struct Comparison {
    connection: SqliteConnection,
    checkpoint: Option<Checkpoint>,
}

impl Comparison {
    /// Opens a snapshot of the documents in `file`, and attaches the rebuilt copy in `truth`.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: one of the files cannot be read.
    pub async fn begin(file: &Path, truth: &Path) -> Result<Self, Error> {
        let mut connection = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .disable_statement_logging()
            .connect()
            .await?;
        sqlx::query("ATTACH ? AS truth")
            .bind(truth.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        let checkpoint = checkpoint(&mut connection).await?;
        Ok(Self {
            connection,
            checkpoint,
        })
    }

    /// Returns the checkpoint of the snapshot; `None` before the first batch.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Sends every difference, and returns whether there is none. Unreadable data counts as a
    /// difference.
    ///
    /// # Errors
    /// [`ReceiverClosed`]: the receiver has been dropped.
    pub async fn run<T: From<Difference>>(
        mut self,
        found: &mpsc::Sender<T>,
    ) -> Result<bool, ReceiverClosed> {
        let integrity = sqlx::query_scalar("PRAGMA main.integrity_check(100)")
            .fetch(&mut self.connection)
            .try_filter(|problem: &String| ready(problem != "ok"))
            .map_ok(|problem| ("read.db".to_owned(), problem));
        let mut sent = send_all(integrity.boxed(), found).await?;
        for sql in SELECT_DIFFERENCES {
            sent += send_all(sqlx::query_as(sql).fetch(&mut self.connection), found).await?;
        }
        let bodies = sqlx::query_as::<_, (String, Vec<u8>, Vec<u8>)>(SELECT_DIFFERENT_BODIES);
        let bodies = bodies
            .fetch(&mut self.connection)
            .map_ok(|(order_id, is, should)| {
                let subject = format!("order {order_id}");
                (subject, different(&is, &should))
            });
        sent += send_all(bodies.boxed(), found).await?;
        Ok(sent == 0)
    }
}

/// Maximum number of documents that are compared with the lists at once. Each time the rows of the
/// whole index are read.
const LISTED_AT_ONCE: usize = 20_000;

/// Maximum bytes of these documents, unless one is larger: 16 MiB.
const LISTED_BYTES_AT_ONCE: usize = 16 << 20;

impl Reader {
    /// Compares the lists with the documents, and sends every difference.
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    /// - [`Error::Stopped`]: the receiver has been dropped.
    pub async fn compare_lists<T: From<Difference>>(
        &self,
        found: &mpsc::Sender<T>,
    ) -> Result<(), Error> {
        let mut after = Row::default();
        loop {
            let (mut snapshot, view) = self.snapshot_with_lists().await?;
            let (documents, is_last) = snapshot.stored_after(after).await?;
            let last = match documents.last() {
                Some(last) if !is_last => last.row,
                _ => Row(u64::MAX),
            };
            let mut expected = BTreeMap::new();
            let entries = known_entries(snapshot.connection(), &documents).await?;
            // The receiver may take its time.
            drop(snapshot);
            for (document, entry) in documents.iter().zip(entries) {
                expected.insert(document.row, (document.order.order_id.as_str(), entry));
            }
            let first = after.following();
            let listed = scan(view, move |view, caller| view.entries(first, last, caller)).await?;
            for (subject, problem) in list_differences(expected, listed) {
                let difference = Difference { subject, problem };
                let sent = found.send(difference.into()).await;
                sent.map_err(|_| Error::Stopped)?;
            }
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }
}

impl Snapshot {
    /// Reads the documents after a row, without names, and returns whether they are the last ones.
    async fn stored_after(&mut self, row: Row) -> Result<(Vec<Document>, bool), Error> {
        let mut rows = sqlx::query_as("SELECT row, body FROM orders WHERE row > ? ORDER BY row")
            .bind(row)
            .fetch(self.connection());
        let (mut documents, mut bytes) = (Vec::new(), 0);
        while let Some((row, body)) = rows.try_next().await? {
            let body: Vec<u8> = body;
            documents.push(decode(row, &body)?);
            bytes += body.len();
            if documents.len() >= LISTED_AT_ONCE || bytes >= LISTED_BYTES_AT_ONCE {
                return Ok((documents, false));
            }
        }
        Ok((documents, true))
    }
}

/// Compares what lists have with the entries of the documents, by row with the order's id.
fn list_differences(
    mut expected: BTreeMap<Row, (&str, Option<Entry>)>,
    listed: Vec<Entry>,
) -> Vec<(String, String)> {
    let mut differences = Vec::new();
    let mut add = |subject: String, problem: &str| differences.push((subject, problem.to_owned()));
    for entry in listed {
        match expected.remove(&entry.row) {
            Some((_, should)) if should.as_ref() == Some(&entry) => {}
            Some((id, _)) => add(
                format!("order {id}"),
                "is listed as something else than it is",
            ),
            None => add(
                format!("the order of event {}", entry.row),
                "is in the lists, and is no order",
            ),
        }
    }
    for (id, _) in expected.into_values() {
        add(format!("order {id}"), "is missing in the lists");
    }
    differences
}

/// The receiver of the differences has been dropped.
#[derive(Debug)]
pub struct ReceiverClosed;

/// Sends differences, and returns how many.
async fn send_all<T: From<Difference>>(
    mut rows: BoxStream<'_, Result<(String, String), sqlx::Error>>,
    found: &mpsc::Sender<T>,
) -> Result<u64, ReceiverClosed> {
    let mut sent = 0;
    loop {
        let (difference, is_last) = match rows.try_next().await {
            Ok(None) => return Ok(sent),
            Ok(Some((subject, problem))) => (Difference { subject, problem }, false),
            Err(error) => {
                let difference = Difference {
                    subject: "read.db".to_owned(),
                    problem: format!("cannot be read: {error}"),
                };
                (difference, true)
            }
        };
        found
            .send(difference.into())
            .await
            .map_err(|_| ReceiverClosed)?;
        sent += 1;
        if is_last {
            return Ok(sent);
        }
    }
}

/// Names the fields in which a stored document is wrong.
fn different(is: &[u8], should: &[u8]) -> String {
    let (Ok(is), Ok(should)) = (Order::decode(is), Order::decode(should)) else {
        return "cannot be decoded".to_owned();
    };
    let fields = [
        ("order_id", is.order_id != should.order_id),
        ("customer_id", is.customer_id != should.customer_id),
        ("status", is.status != should.status),
        ("items", is.items != should.items),
        ("total_amount", is.total_amount != should.total_amount),
        ("item_count", is.item_count != should.item_count),
        (
            "shipping_address",
            is.shipping_address != should.shipping_address,
        ),
        (
            "tracking_number",
            is.tracking_number != should.tracking_number,
        ),
        (
            "cancellation_reason",
            is.cancellation_reason != should.cancellation_reason,
        ),
        ("created_at", is.created_at != should.created_at),
        ("updated_at", is.updated_at != should.updated_at),
        ("shipped_at", is.shipped_at != should.shipped_at),
        ("delivered_at", is.delivered_at != should.delivered_at),
        ("cancelled_at", is.cancelled_at != should.cancelled_at),
        ("version", is.version != should.version),
        ("position", is.position != should.position),
    ];
    let wrong = fields.into_iter().filter(|(_, differs)| *differs);
    let wrong: Vec<_> = wrong.map(|(name, _)| name).collect();
    format!("is wrong in {}", wrong.join(", "))
}
