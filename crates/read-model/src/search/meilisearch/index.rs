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
    task_info::TaskInfo,
};
use serde::Deserialize;

use super::{
    INTERFERENCE_MESSAGE, failed, found,
    http::Http,
    ownership::Ownership,
    settings,
    stored::{self, CHECKPOINT_KEY, Entry, StoredCheckpoint},
    tasks::{self, TaskFailure},
};
use crate::search::{Applied, Error, IndexCheckpoint};

/// Bounds a search, so that a client learns within 1 s that no answer comes.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(900);

/// Bounds each call outside of searches. The server accepts a task within it, and runs it later.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// Begins the primary key of an index of orderlog. The id of the log that owns the index follows.
const PRIMARY_KEY_PREFIX: &str = "log_";

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
    /// Opens the index `uid` of the server at a URL. Neither needs to exist yet.
    ///
    /// # Errors
    /// [`Error::Failed`]: the key cannot be sent as an HTTP header, or the client cannot be
    /// created.
    pub fn new(url: &str, key: Option<&str>, uid: &str) -> Result<Self, Error> {
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
            uid: uid.to_owned(),
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

    /// Returns the primary key of this log's indexes. It names the log, so that the server itself
    /// rejects each write to the index of another log, also one sent before the index changed hands.
    fn primary_key(&self) -> Result<String, Error> {
        let log_id = self.ownership(|ownership| ownership.log_id.clone());
        let log_id = log_id.ok_or_else(|| Error::failed("the index has not been claimed"))?;
        Ok(format!("{PRIMARY_KEY_PREFIX}{log_id}"))
    }

    /// Returns the server's description of the index; `None` if there is no index.
    pub(super) async fn info(&self) -> Result<Option<IndexInfo>, Error> {
        let url = format!("{}/indexes/{}", self.server.url, self.uid);
        let get = Method::<(), ()>::Get { query: () };
        found(self.server.writes.request(&url, get, 200).await)
    }

    /// Returns the description of the log's index; `None` if there is no index.
    ///
    /// # Errors
    /// [`Error::Foreign`]: the index belongs to another log or application.
    pub(super) async fn owned(&self) -> Result<Option<IndexInfo>, Error> {
        let Some(info) = self.info().await? else {
            return Ok(None);
        };
        if info.primary_key.as_ref() == Some(&self.primary_key()?) {
            return Ok(Some(info));
        }
        let primary_key = info.primary_key.as_deref();
        let log_id = primary_key.and_then(|key| key.strip_prefix(PRIMARY_KEY_PREFIX));
        Err(Error::Foreign {
            index: self.uid.clone(),
            owner: log_id.map_or("another application".to_owned(), |id| format!("log {id}")),
        })
    }

    /// Returns the checkpoint; `None` without an index or a checkpoint, or if it belongs to another
    /// index of the same name.
    pub(super) async fn stored(&self) -> Result<Option<StoredCheckpoint>, Error> {
        let Some(IndexInfo { created_at, .. }) = self.owned().await? else {
            return Ok(None);
        };
        let index = self.server.client.index(&self.uid);
        let stored: Option<StoredCheckpoint> = found(index.get_document(CHECKPOINT_KEY).await)?;
        Ok(stored.filter(|stored| stored.created == created_at))
    }

    /// Creates the index for this log, unless it exists. The server lets only one of two logs create
    /// it.
    pub(super) async fn create(&self) -> Result<(), Error> {
        let primary_key = self.primary_key()?;
        let client = &self.server.client;
        let created = client.create_index(&self.uid, Some(&primary_key)).await;
        let task = created.map_err(failed)?.task_uid;
        self.server.wait_for_task(task).await
    }

    /// Creates the index if it is missing, and sends its settings.
    pub(super) async fn prepare(&self) -> Result<(), Error> {
        self.create().await?;
        self.owned().await?;
        let settings = settings::settings();
        let index = self.server.client.index(&self.uid);
        let set = index.set_settings(&settings).await;
        self.server
            .wait_for_task(set.map_err(failed)?.task_uid)
            .await
    }

    /// Sends the task that deletes all documents, and returns its number.
    pub(super) async fn start_emptying(&self) -> Result<u32, Error> {
        let index = self.server.client.index(&self.uid);
        let accepted = index.delete_all_documents().await;
        let task = accepted.map_err(failed)?.task_uid;
        self.ownership(|ownership| ownership.last = Some(task));
        Ok(task)
    }

    /// Deletes the index, unless it belongs to another log or application.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        self.owned().await?;
        let deleted = self.server.client.index(&self.uid).delete().await;
        let task = match deleted {
            Ok(task) => task.task_uid,
            Err(SdkError::Meilisearch(error)) if error.error_code == ErrorCode::IndexNotFound => {
                return Ok(());
            }
            Err(error) => return Err(failed(error)),
        };
        self.server.wait_for_task(task).await
    }

    /// Sends a task, which must be the first of this index after the last one of this process.
    pub(super) async fn submit(&self, entries: &[Entry], position: u64) -> Result<Applied, Error> {
        let primary_key = self.primary_key()?;
        let body = stored::encode(entries, &primary_key)?;
        let (server, uid) = (self.server.clone(), self.uid.clone());
        let url = format!(
            "{}/indexes/{uid}/documents?primaryKey={primary_key}",
            server.url
        );
        let accepted: Result<TaskInfo, _> = server.writes.post(&url, body, 202).await;
        let task = match accepted {
            Ok(task) => task.task_uid,
            Err(SdkError::Meilisearch(error)) if error.error_code == ErrorCode::PayloadTooLarge => {
                return Err(Error::TooLarge(error.error_message));
            }
            Err(error @ SdkError::Meilisearch(_)) => return Err(failed(error)),
            Err(error) => {
                // The server may have accepted the task and may still run it.
                self.ownership(|ownership| ownership.record_unconfirmed(position));
                return Err(failed(error));
            }
        };
        let previous = self.ownership(|ownership| ownership.last.replace(task));
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
            log_id: checkpoint.log_id.clone(),
            history: checkpoint.history.clone(),
            read_position: checkpoint.read_position.to_string(),
            event_id: checkpoint.event_id.clone(),
            position: checkpoint.position.to_string(),
            answers: checkpoint.answers.to_string(),
            names_position: checkpoint.names.position.to_string(),
            names_row: checkpoint.names.row.to_string(),
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
pub(super) struct IndexInfo {
    /// The time at which the server created the index.
    pub(super) created_at: String,
    primary_key: Option<String>,
}
