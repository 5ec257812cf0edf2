//! Compares the lists with the documents.

use std::collections::{BTreeMap, HashMap};

use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;

use super::{
    Error, Reader,
    list::scan,
    numbers::known_entries,
    snapshot::{Snapshot, decode},
};
use crate::{Row, lists::Entry, search::Document};

/// One difference between two parts that must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The order, customer, product, statistics or file that differs.
    pub subject: String,
    /// The problem, as a predicate of the subject.
    pub problem: String,
}

/// Maximum number of documents that are compared with the lists at once.
const LISTED_AT_ONCE: usize = 20_000;

/// Maximum number of misfiled orders whose ids are read at once.
const MISFILED_AT_ONCE: usize = 1000;

/// Maximum bytes of these documents, unless one is larger: 16 MiB.
const LISTED_BYTES_AT_ONCE: usize = 16 << 20;

impl Reader {
    /// Compares the lists with the documents, and sends every difference. Also compares what the index
    /// of lists finds an order by with what it has of the order.
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Damaged`]: a stored document cannot be decoded.
    /// - [`Error::Stopped`]: the receiver has been dropped.
    pub async fn compare_lists<T: From<Difference>>(
        &self,
        found: &mpsc::Sender<T>,
    ) -> Result<(), Error> {
        self.compare_postings(found).await?;
        let mut after = Row::default();
        loop {
            let (mut snapshot, view) = self.snapshot_when_listed().await?;
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
            let listed = scan(view, move |view, _| view.entries(first, last)).await?;
            for (subject, problem) in list_differences(expected, listed) {
                send(found, subject, problem).await?;
            }
            if is_last {
                return Ok(());
            }
            after = last;
        }
    }

    /// Compares what leads to an order in the index of lists with the values that the index has of the
    /// order: of one commit, so that later changes do not matter.
    async fn compare_postings<T: From<Difference>>(
        &self,
        found: &mpsc::Sender<T>,
    ) -> Result<(), Error> {
        let (snapshot, view) = self.snapshot_when_listed().await?;
        drop(snapshot);
        for window in view.windows() {
            let misfiled = scan(view.clone(), move |view, _| view.misfiled(&window)).await?;
            for misfiled in misfiled.chunks(MISFILED_AT_ONCE) {
                let rows: Vec<_> = misfiled.iter().map(|(row, _)| *row).collect();
                let (documents, _) = self.documents_by_rows(&rows).await?;
                let ids = documents.into_iter().map(|it| (it.row, it.order.order_id));
                let ids: HashMap<_, _> = ids.collect();
                for (row, field) in misfiled {
                    let problem = format!("is found in the lists by another {field} than it has");
                    send(found, subject(*row, ids.get(row)), problem).await?;
                }
            }
        }
        Ok(())
    }
}

async fn send<T: From<Difference>>(
    found: &mpsc::Sender<T>,
    subject: String,
    problem: String,
) -> Result<(), Error> {
    let sent = found.send(Difference { subject, problem }.into()).await;
    sent.map_err(|_| Error::Stopped)
}

/// Names an order, by its row if its id is unknown.
fn subject(row: Row, order_id: Option<&String>) -> String {
    match order_id {
        Some(id) => format!("order {id}"),
        None => format!("the order of event {row}"),
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
            None => add(subject(entry.row, None), "is in the lists, and is no order"),
        }
    }
    for (id, _) in expected.into_values() {
        add(format!("order {id}"), "is missing in the lists");
    }
    differences
}
