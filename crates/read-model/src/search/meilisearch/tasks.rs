//! Waits for the server's tasks.
//!
//! The SDK's own wait ends after 5 s, takes a failed task for a finished one, and ignores cancelled
//! tasks.

use std::time::Duration;

use meilisearch_sdk::request::{HttpClient as _, Method};
use serde::Deserialize;

use super::{failed, index::ServerClient};
use crate::search::Error;

/// The first and the longest interval between two requests for a task's state. Each interval is
/// half as long again as the one before.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(5);
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The errors for which a document is to blame (Meilisearch's error codes). Any other failure, such as
/// a full disk, other settings or an index that belongs to another log, meets every document. It is an
/// outage of the search, and parks no order.
const DOCUMENT_ERRORS: [&str; 3] = [
    "invalid_document_id",
    "max_fields_limit_exceeded",
    "missing_document_id",
];

/// The kinds of task and their errors that mean that there was nothing to do.
const DONE_BEFORE: [(&str, &str); 2] = [
    ("indexCreation", "index_already_exists"),
    ("indexDeletion", "index_not_found"),
];

#[derive(Debug, Deserialize)]
struct Tasks {
    results: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Task {
    uid: u32,
    status: String,
    #[serde(default, rename = "type")]
    kind: String,
    error: Option<TaskError>,
}

#[derive(Debug, Deserialize)]
struct TaskError {
    message: String,
    #[serde(default)]
    code: String,
}

/// A reason why a task is not done.
#[derive(Debug)]
pub(super) enum TaskFailure {
    /// A foreign task wrote in between, or removed documents.
    Interference {
        /// Whether the foreign task may have removed documents.
        removed: bool,
    },
    /// The server no longer knows the task.
    Lost,
    /// The task failed, or the server does not answer.
    Failed(Error),
}

impl ServerClient {
    /// Waits for a task. The task must be the first one after `previous` that writes or removes
    /// documents of the index.
    pub(super) async fn wait_for_write(
        &self,
        uid: &str,
        previous: Option<u32>,
        task: u32,
    ) -> Result<(), TaskFailure> {
        let from = previous.map_or(task, |previous| previous.saturating_add(1));
        let url = format!(
            "{}/tasks?indexUids={uid}&types=documentAdditionOrUpdate,documentEdition,\
             documentDeletion,indexDeletion&reverse=true&from={from}&limit=1",
            self.url
        );
        self.wait(&url, task).await
    }

    /// Waits for any task.
    pub(super) async fn wait_for_task(&self, task: u32) -> Result<(), Error> {
        let url = format!("{}/tasks?uids={task}", self.url);
        self.wait(&url, task)
            .await
            .map_err(|failure| match failure {
                TaskFailure::Failed(error) => error,
                TaskFailure::Lost | TaskFailure::Interference { .. } => lost(task),
            })
    }

    /// Returns the error of a failed task. Succeeds also if the key cannot see the task.
    pub(super) async fn check_not_failed(&self, task: u32) -> Result<(), Error> {
        let url = format!("{}/tasks?uids={task}", self.url);
        let get = Method::<(), ()>::Get { query: () };
        let tasks: Tasks = self.writes.request(&url, get, 200).await.map_err(failed)?;
        match tasks.results.into_iter().next().and_then(ended) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn wait(&self, url: &str, task: u32) -> Result<(), TaskFailure> {
        let mut interval = MIN_POLL_INTERVAL;
        loop {
            let tasks: Tasks = self
                .writes
                .request(url, Method::<(), ()>::Get { query: () }, 200)
                .await
                .map_err(|error| TaskFailure::Failed(failed(error)))?;
            match tasks.results.into_iter().next() {
                Some(found) if found.uid < task => {
                    let removed = found.kind != "documentAdditionOrUpdate";
                    return Err(TaskFailure::Interference { removed });
                }
                Some(found) if found.uid == task => {
                    if let Some(ended) = ended(found) {
                        return ended.map_err(TaskFailure::Failed);
                    }
                }
                _ => return Err(TaskFailure::Lost),
            }
            tokio::time::sleep(interval).await;
            interval = MAX_POLL_INTERVAL.min(interval * 3 / 2);
        }
    }
}

pub(super) fn lost(task: u32) -> Error {
    Error::failed(format!("task {task} is lost"))
}

/// Returns the result of a task; `None` if it has not ended.
fn ended(task: Task) -> Option<Result<(), Error>> {
    match task.status.as_str() {
        "enqueued" | "processing" => None,
        "succeeded" => Some(Ok(())),
        "failed" => Some(Err(match task.error {
            Some(TaskError { code, .. }) if DONE_BEFORE.contains(&(&*task.kind, &*code)) => {
                return Some(Ok(()));
            }
            Some(TaskError { message, code }) if DOCUMENT_ERRORS.contains(&&*code) => {
                Error::Refused(message)
            }
            error => {
                let message = error.map(|error| error.message).unwrap_or_default();
                Error::failed(format!("task {} failed: {message}", task.uid))
            }
        })),
        other => Some(Err(Error::failed(format!("task {} is {other}", task.uid)))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::{super::MeilisearchIndex, *};

    /// Starts a server that gives one answer to every call.
    pub(in super::super) async fn answering(body: &'static str) -> MeilisearchIndex {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        MeilisearchIndex::new(&format!("http://{address}"), None, "orders").unwrap()
    }

    async fn outcome(body: &'static str) -> String {
        let server = answering(body).await.server;
        match server.wait_for_write("orders", Some(5), 7).await {
            Ok(()) => "done".to_owned(),
            Err(TaskFailure::Failed(error)) => error.to_string(),
            Err(failure) => format!("{failure:?}"),
        }
    }

    /// Replies of Meilisearch about task 7, each with what it means.
    const REPLIES: [(&str, &str); 13] = [
        (
            r#"{"results":[{"uid":7,"status":"succeeded","error":null}]}"#,
            "done",
        ),
        (
            r#"{"results":[{"uid":7,"status":"canceled"}]}"#,
            "the search index failed: task 7 is canceled",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","error":
                    {"message":"no space left","type":"internal"}}]}"#,
            "the search index failed: task 7 failed: no space left",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","error":
                    {"message":"bad id","code":"invalid_document_id","type":"invalid_request"}}]}"#,
            "the search index refuses a document: bad id",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","error":
                    {"message":"Index already has a primary key: `log_a`.",
                     "code":"index_primary_key_already_exists","type":"invalid_request"}}]}"#,
            "the search index failed: task 7 failed: Index already has a primary key: `log_a`.",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","type":"indexDeletion","error":
                    {"message":"Index `orders` not found.","code":"index_not_found",
                     "type":"invalid_request"}}]}"#,
            "done",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","error":
                    {"message":"Index `orders` not found.","code":"index_not_found",
                     "type":"invalid_request"}}]}"#,
            "the search index failed: task 7 failed: Index `orders` not found.",
        ),
        (
            r#"{"results":[{"uid":7,"status":"failed","error":
                    {"message":"there is no more space left on the device",
                     "code":"no_space_left_on_device","type":"system"}}]}"#,
            "the search index failed: task 7 failed: there is no more space left on the device",
        ),
        (
            r#"{"results":[{"uid":7,"status":"of a newer version"}]}"#,
            "the search index failed: task 7 is of a newer version",
        ),
        (r#"{"results":[]}"#, "Lost"),
        (r#"{"results":[{"uid":8,"status":"succeeded"}]}"#, "Lost"),
        (
            r#"{"results":[{"uid":6,"status":"succeeded","type":"documentAdditionOrUpdate"}]}"#,
            "Interference { removed: false }",
        ),
        (
            r#"{"results":[{"uid":6,"status":"enqueued","type":"indexDeletion"}]}"#,
            "Interference { removed: true }",
        ),
    ];

    #[tokio::test]
    async fn only_a_succeeded_task_counts_as_done() {
        for (body, what) in REPLIES {
            assert_eq!(outcome(body).await, what, "{body}");
        }
        assert!(outcome("<html>").await.contains("the search index failed"));
    }
}
