//! The index in the server: its calls, its tasks and its checkpoint.

use std::{
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

use super::{
    INTERFERENCE_MESSAGE,
    document::PRIMARY_KEY,
    failed, found,
    http::Http,
    ownership::Ownership,
    settings,
    stored::{Entry, StoredCheckpoint},
    tasks::{self, TaskFailure},
};
use crate::search::{Applied, Error, IndexCheckpoint};

/// The live index.
const LIVE_UID: &str = "orders";

/// Bounds a search, so that a client learns within 1 s that no answer comes.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(900);

/// Bounds each call outside of searches. The server accepts a task within it, and runs it later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The key of the checkpoint's document. The keys of orders are numbers.
const CHECKPOINT_ID: &str = "checkpoint";

/// The server's address, and the clients that call it.
#[derive(Debug, Clone)]
pub(super) struct ServerClient {
    pub(super) url: String,
    pub(super) searches: Http,
    pub(super) writes: Http,
    pub(super) client: Client<Http>,
}

/// A search index in a Meilisearch server.
pub struct MeilisearchIndex {
    pub(super) server: ServerClient,
    pub(super) uid: String,
    /// Whether this is the next generation, not the live one.
    pub(super) is_next: bool,
    /// Whether the index is unfinished.
    unfinished: bool,
    pub(super) schema: String,
    ownership: Arc<Mutex<Ownership>>,
    /// The generation that the next switch makes live.
    pub(super) next: Mutex<Option<Arc<MeilisearchIndex>>>,
}

impl fmt::Debug for MeilisearchIndex {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("MeilisearchIndex")
            .field("url", &self.server.url)
            .field("uid", &self.uid)
            .finish_non_exhaustive()
    }
}

impl MeilisearchIndex {
    /// Opens the index `orders` of the server at a URL. Neither needs to exist yet.
    ///
    /// # Errors
    /// [`Error::Failed`]: the key cannot be sent as an HTTP header, or the client cannot be
    /// created.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, Error> {
        Self::named(url, key, LIVE_UID)
    }

    pub(super) fn named(url: &str, key: Option<&str>, name: &str) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let searches = Http::new(key, SEARCH_TIMEOUT).map_err(failed)?;
        let writes = Http::new(key, WRITE_TIMEOUT).map_err(failed)?;
        let server = ServerClient {
            client: Client::new_with_client(url.clone(), None::<String>, writes.clone()),
            url,
            searches,
            writes,
        };
        Ok(Self {
            server,
            uid: name.to_owned(),
            is_next: false,
            unfinished: false,
            schema: settings::schema().map_err(Error::failed)?,
            ownership: Arc::new(Mutex::new(Ownership::new())),
            next: Mutex::default(),
        })
    }

    pub(super) fn other(&self, unfinished: bool) -> Self {
        Self {
            server: self.server.clone(),
            uid: format!("{}-beside", self.uid),
            is_next: true,
            unfinished,
            schema: self.schema.clone(),
            ownership: Arc::new(Mutex::new(
                self.ownership(|ownership| ownership.of_next_generation()),
            )),
            next: Mutex::default(),
        }
    }

    pub(super) fn ownership<T>(&self, access: impl FnOnce(&mut Ownership) -> T) -> T {
        // No code panics while it holds this lock.
        access(
            &mut self
                .ownership
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Returns the time at which the server created the index; `None` if there is no index.
    pub(super) async fn created(&self) -> Result<Option<String>, Error> {
        let url = format!("{}/indexes/{}", self.server.url, self.uid);
        let get = Method::<(), ()>::Get { query: () };
        let found: Option<IndexInfo> = found(self.server.writes.request(&url, get, 200).await)?;
        Ok(found.map(|info| info.created_at))
    }

    /// Returns the checkpoint; `None` without an index or a checkpoint, or if it belongs to another
    /// index of the same name.
    pub(super) async fn stored(&self) -> Result<Option<StoredCheckpoint>, Error> {
        let index = self.server.client.index(&self.uid);
        let stored: Option<StoredCheckpoint> = found(index.get_document(CHECKPOINT_ID).await)?;
        match stored {
            Some(stored) if self.created().await?.as_ref() == Some(&stored.created) => {
                Ok(Some(stored))
            }
            _ => Ok(None),
        }
    }

    /// Creates the index if it is missing, and sends its settings.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        let client = &self.server.client;
        let created = client.create_index(&self.uid, Some(PRIMARY_KEY)).await;
        // The server rejects the task if the index exists.
        match self
            .server
            .wait_for_task(created.map_err(failed)?.task_uid)
            .await
        {
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        let settings = settings::settings();
        let set = client.index(&self.uid).set_settings(&settings).await;
        self.server
            .wait_for_task(set.map_err(failed)?.task_uid)
            .await
    }

    pub(super) async fn delete(&self) -> Result<(), Error> {
        let deleted = self.server.client.index(&self.uid).delete().await;
        let task = match deleted {
            Ok(task) => task.task_uid,
            Err(SdkError::Meilisearch(error)) if error.error_code == ErrorCode::IndexNotFound => {
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        match self.server.wait_for_task(task).await {
            // The index did not exist.
            Ok(()) | Err(Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a task, which must be the first of this index after the last one of this process.
    pub(super) async fn submit(&self, entries: &[Entry], position: u64) -> Result<Applied, Error> {
        let index = self.server.client.index(&self.uid);
        let accepted = index.add_or_replace(entries, Some(PRIMARY_KEY)).await;
        let task = match accepted {
            Ok(task) => task.task_uid,
            Err(error @ SdkError::Meilisearch(_)) => return Err(failed(error)),
            Err(error) => {
                // The server may have accepted the task and may still run it.
                self.ownership(|ownership| ownership.record_unconfirmed(position));
                return Err(failed(error));
            }
        };
        let previous = self.ownership(|ownership| ownership.last.replace(task));
        let (server, uid) = (self.server.clone(), self.uid.clone());
        let ownership = Arc::clone(&self.ownership);
        Ok(async move {
            let failure = match server.wait_for_write(&uid, previous, task).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let mut ownership = ownership.lock().unwrap_or_else(PoisonError::into_inner);
            match failure {
                TaskFailure::Failed(error) => Err(error),
                TaskFailure::Lost => {
                    ownership.last = None;
                    Err(tasks::lost(task))
                }
                TaskFailure::Interference { removed } => {
                    ownership.record_interference(removed);
                    Err(Error::failed(INTERFERENCE_MESSAGE))
                }
            }
        }
        .boxed())
    }

    /// Returns a checkpoint as the index stores it, with the claim of this process.
    pub(super) fn to_stored(
        &self,
        checkpoint: &IndexCheckpoint,
    ) -> Result<StoredCheckpoint, Error> {
        let (epoch, owner) = self
            .ownership(|ownership| ownership.claim())
            .ok_or_else(|| Error::failed("the index has not been claimed"))?;
        Ok(StoredCheckpoint {
            id: CHECKPOINT_ID.to_owned(),
            log_id: checkpoint.log_id.clone(),
            history: checkpoint.history.clone(),
            event_id: checkpoint.event_id.clone(),
            position: checkpoint.position.to_string(),
            answers: checkpoint.answers.to_string(),
            generation: checkpoint.generation.to_string(),
            epoch,
            owner,
            schema: self.schema.clone(),
            unfinished: self.unfinished,
            created: self.ownership(|ownership| ownership.created.clone()),
        })
    }
}

/// The server's description of an index.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexInfo {
    created_at: String,
}
