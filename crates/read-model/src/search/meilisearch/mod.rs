//! Meilisearch as the search engine.
//!
//! One index, `orders`, holds the orders and one document with the checkpoint. Meilisearch applies
//! a task completely or not at all, so documents and checkpoint share a task. A second index,
//! `orders-beside`, is the unfinished or the previous one. One task swaps the two.
//!
//! The checkpoint also ensures a single writer. A process that claims the index raises its epoch,
//! and a process that finds a newer epoch than its own stops. Tasks of the old writer may still run
//! between tasks of the new one. The new writer detects them, and rewrites from where it began.

mod document;
mod hits;
mod http;
mod live;
mod ownership;
mod query;
#[cfg(test)]
mod real_meilisearch;
mod settings;
mod stored;
mod tasks;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use meilisearch_sdk::{
    client::Client,
    errors::{Error as SdkError, ErrorCode},
    request::{HttpClient as _, Method},
};
use serde::Deserialize;

use self::{
    document::{Indexed, KEY},
    http::Http,
    ownership::{Claim, Held, Ownership},
    stored::{Entry, Stored, nothing},
    tasks::Undone,
};
use super::{
    Appetite, Applied, Checkpoint, Claimed, Difference, Document, Engine, Error, Hits, Request,
};

/// The live index.
const NAME: &str = "orders";

/// Bounds a search, so that a client learns within 1 s that no answer comes.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(900);

/// Bounds each call outside of searches. The server accepts a task within it, and runs it later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The error after a foreign task, on which the caller claims the index once more.
const INTERFERENCE: &str = "another process has written to the index";

/// The key of the checkpoint's document. The keys of orders are numbers.
const CHECKPOINT: &str = "checkpoint";

/// The server's address, and the clients that call it.
#[derive(Debug, Clone)]
struct Connection {
    url: String,
    searches: Http,
    writes: Http,
    client: Client<Http>,
}

/// A search index in a Meilisearch server.
pub struct Index {
    connection: Connection,
    uid: String,
    /// Whether this is the index next to the live one.
    is_beside: bool,
    /// Whether the index is unfinished.
    unfinished: bool,
    schema: String,
    ownership: Arc<Mutex<Ownership>>,
    /// The index that the next swap makes live.
    beside: Mutex<Option<Arc<Index>>>,
}

impl fmt::Debug for Index {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Index")
            .field("url", &self.connection.url)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index `orders` of the server at a URL. Neither needs to exist yet.
    ///
    /// # Errors
    /// [`Error::Failed`]: the key cannot be sent as an HTTP header, or the client cannot be
    /// created.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, Error> {
        Self::named(url, key, NAME)
    }

    fn named(url: &str, key: Option<&str>, name: &str) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let searches = Http::new(key, SEARCH_TIMEOUT).map_err(failed)?;
        let writes = Http::new(key, WRITE_TIMEOUT).map_err(failed)?;
        let connection = Connection {
            client: Client::new_with_client(url.clone(), None::<String>, writes.clone()),
            url,
            searches,
            writes,
        };
        Ok(Self {
            connection,
            uid: name.to_owned(),
            is_beside: false,
            unfinished: false,
            schema: settings::schema().map_err(Error::failed)?,
            ownership: Arc::new(Mutex::new(Ownership::new())),
            beside: Mutex::default(),
        })
    }

    fn other(&self, unfinished: bool) -> Self {
        Self {
            connection: self.connection.clone(),
            uid: format!("{}-beside", self.uid),
            is_beside: true,
            unfinished,
            schema: self.schema.clone(),
            ownership: Arc::new(Mutex::new(self.owned(|owned| owned.beside()))),
            beside: Mutex::default(),
        }
    }

    fn owned<T>(&self, look: impl FnOnce(&mut Ownership) -> T) -> T {
        // No code panics while it holds this lock.
        look(
            &mut self
                .ownership
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Returns the time at which the server created the index; `None` if there is no index.
    async fn created(&self) -> Result<Option<String>, Error> {
        let url = format!("{}/indexes/{}", self.connection.url, self.uid);
        let get = Method::<(), ()>::Get { query: () };
        let found: Option<Made> = found(self.connection.writes.request(&url, get, 200).await)?;
        Ok(found.map(|made| made.created_at))
    }

    /// Returns the checkpoint; `None` without an index or a checkpoint, or if it belongs to another
    /// index of the same name.
    async fn stored(&self) -> Result<Option<Stored>, Error> {
        let index = self.connection.client.index(&self.uid);
        let stored: Option<Stored> = found(index.get_document(CHECKPOINT).await)?;
        match stored {
            Some(stored) if self.created().await?.as_ref() == Some(&stored.created) => {
                Ok(Some(stored))
            }
            _ => Ok(None),
        }
    }

    /// Creates the index if it is missing, and sends its settings.
    async fn prepare(&self) -> Result<(), Error> {
        let client = &self.connection.client;
        let made = client.create_index(&self.uid, Some(KEY)).await;
        // The server rejects the task if the index exists.
        match self.connection.done(made.map_err(failed)?.task_uid).await {
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let settings = settings::settings();
        let set = client.index(&self.uid).set_settings(&settings).await;
        self.connection.done(set.map_err(failed)?.task_uid).await
    }

    async fn delete(&self) -> Result<(), Error> {
        let deleted = self.connection.client.index(&self.uid).delete().await;
        let task = match deleted {
            Ok(task) => task.task_uid,
            Err(SdkError::Meilisearch(error)) if error.error_code == ErrorCode::IndexNotFound => {
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        match self.connection.done(task).await {
            // The index did not exist.
            Ok(()) | Err(Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a task, which must be the first of this index after the last one of this process.
    async fn hand_over(&self, entries: &[Entry], position: u64) -> Result<Applied, Error> {
        let index = self.connection.client.index(&self.uid);
        let accepted = index.add_or_replace(entries, Some(KEY)).await;
        let task = match accepted {
            Ok(task) => task.task_uid,
            Err(error @ SdkError::Meilisearch(_)) => return Err(failed(error)),
            Err(error) => {
                // The server may have accepted the task and may still run it.
                self.owned(|owned| owned.doubt(position));
                return Err(failed(error));
            }
        };
        let previous = self.owned(|owned| owned.last.replace(task));
        let (connection, uid) = (self.connection.clone(), self.uid.clone());
        let ownership = Arc::clone(&self.ownership);
        Ok(async move {
            let undone = match connection.written(&uid, previous, task).await {
                Ok(()) => return Ok(()),
                Err(undone) => undone,
            };
            let mut owned = ownership.lock().unwrap_or_else(PoisonError::into_inner);
            match undone {
                Undone::Failed(error) => Err(error),
                Undone::Lost => {
                    owned.last = None;
                    Err(tasks::lost(task))
                }
                Undone::Interference { removed } => {
                    owned.interfered(removed);
                    Err(Error::failed(INTERFERENCE))
                }
            }
        }
        .boxed())
    }

    fn entry(&self, checkpoint: &Checkpoint) -> Result<Entry, Error> {
        let (epoch, owner) = self
            .owned(|owned| owned.claim())
            .ok_or_else(|| Error::failed("the index has not been claimed"))?;
        Ok(Entry::Checkpoint(Stored {
            id: CHECKPOINT.to_owned(),
            log_id: checkpoint.log_id.clone(),
            position: checkpoint.position.to_string(),
            answers: checkpoint.answers.to_string(),
            generation: checkpoint.generation.to_string(),
            epoch,
            owner,
            schema: self.schema.clone(),
            unfinished: self.unfinished,
            created: self.owned(|owned| owned.created.clone()),
        }))
    }
}

/// The server's description of an index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    created_at: String,
}

/// Turns a missing index or document into `None`.
fn found<T>(answer: Result<T, SdkError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(SdkError::Meilisearch(error))
            if matches!(
                error.error_code,
                ErrorCode::IndexNotFound | ErrorCode::DocumentNotFound
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(error)),
    }
}

#[derive(Debug, Deserialize)]
struct Fetched {
    results: Vec<Indexed>,
}

#[async_trait::async_trait]
impl Engine for Index {
    async fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let Some(stored) = self.stored().await? else {
            return Ok(None);
        };
        match self.owned(|owned| owned.look(stored.epoch, &stored.owner)) {
            Held::Ours => stored.checkpoint(),
            Held::Before => Err(Error::failed(INTERFERENCE)),
            Held::After => Err(Error::Superseded),
        }
    }

    async fn claim(&self) -> Result<Claimed, Error> {
        let found = self.stored().await?;
        if !self.is_beside {
            self.tidy().await?;
        }
        let held = found.as_ref().map(|found| (found.epoch, &*found.owner));
        let rewind = match self.owned(|owned| owned.take(held, ownership::now())) {
            Claim::Superseded => return Err(Error::Superseded),
            Claim::Resume => None,
            Claim::RewindTo(position) => Some(position),
        };
        if found.is_none() {
            // An existing index without a valid checkpoint is not usable.
            self.delete().await?;
            self.prepare().await?;
            self.owned(|owned| owned.last = None);
        }
        let created = self.created().await?.unwrap_or_default();
        self.owned(|owned| {
            if owned.created != created {
                // The index was created anew, so `last` names a task of its predecessor.
                owned.last = None;
            }
            owned.created = created;
        });
        let stored = found.as_ref().map_or(Ok(None), Stored::checkpoint)?;
        let checkpoint = stored.map(|stored| Checkpoint {
            position: rewind.map_or(stored.position, |to| stored.position.min(to)),
            answers: rewind.map_or(stored.answers, |_| 0),
            ..stored
        });
        let position = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.position);
        let outdated = found
            .as_ref()
            .is_some_and(|found| found.schema != self.schema);
        let claim = match self.entry(&checkpoint.clone().unwrap_or_else(nothing))? {
            Entry::Checkpoint(claim) => Stored {
                // The existing documents are still of the schema that made them.
                schema: found.map_or(claim.schema, |found| found.schema),
                ..claim
            },
            order @ Entry::Order(_) => return Err(Error::failed(format!("no claim: {order:?}"))),
        };
        self.hand_over(&[Entry::Checkpoint(claim)], position)
            .await?
            .await?;
        self.owned(|owned| owned.claimed(position));
        Ok(Claimed {
            checkpoint,
            outdated,
        })
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: Checkpoint,
    ) -> Result<Applied, Error> {
        let mut entries: Vec<_> = documents.iter().map(|d| Entry::Order(d.into())).collect();
        drop(documents);
        entries.push(self.entry(&checkpoint)?);
        self.hand_over(&entries, checkpoint.position).await
    }

    fn appetite(&self) -> Appetite {
        Appetite {
            documents: 25_000,
            writes: 3,
        }
    }

    async fn clear(&self) -> Result<(), Error> {
        self.delete().await?;
        self.owned(|owned| owned.last = None);
        self.claim().await.map(|_| ())
    }

    async fn search(&self, request: Request) -> Result<Hits, Error> {
        self.hits(request).await
    }

    async fn compare(
        &self,
        first: u64,
        last: u64,
        documents: Vec<Document>,
    ) -> Result<Vec<Difference>, Error> {
        let url = format!(
            "{}/indexes/{}/documents/fetch",
            self.connection.url, self.uid
        );
        let body = serde_json::json!({
            "filter": format!("row >= {first} AND row <= {last}"),
            "limit": 2 * documents.len() + 1000,
        });
        let fetched: Fetched = self
            .connection
            .writes
            .request(&url, Method::Post { query: (), body }, 200)
            .await
            .map_err(failed)?;
        let mut there: BTreeMap<_, _> = fetched
            .results
            .into_iter()
            .map(|indexed| (indexed.row, indexed))
            .collect();
        let mut differences = Vec::new();
        for document in &documents {
            match there.remove(&document.row) {
                None => differences.push(Difference::Missing(document.row)),
                Some(indexed) if indexed != document.into() => {
                    differences.push(Difference::Other(document.row));
                }
                Some(_) => {}
            }
        }
        differences.extend(there.into_keys().map(Difference::Extra));
        Ok(differences)
    }
}

fn failed(error: SdkError) -> Error {
    Error::failed(error)
}
