//! The operations of the search engine: claims, writes and comparisons.

use std::collections::BTreeMap;

use meilisearch_sdk::request::{HttpClient as _, Method};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{
    INTERFERENCE_MESSAGE, MeilisearchIndex,
    document::Indexed,
    failed,
    ownership::{self, Claim, Owner},
    stored::{Entry, StoredCheckpoint, empty_checkpoint},
};
use crate::search::{
    Applied, Claimed, Document, Engine, Error, Hits, IndexCheckpoint, IndexDifference,
    SearchRequest, WriteLimits, WronglyFound, differences,
};
use crate::{
    Row,
    store::{ChangeCursor, Reader},
};

#[derive(Debug, Deserialize)]
struct FetchedDocuments {
    results: Vec<Indexed>,
}

/// Tells whether a claim keeps the content of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Kept,
    Deleted,
}

#[async_trait::async_trait]
impl Engine for MeilisearchIndex {
    async fn checkpoint(&self, log_id: &str) -> Result<Option<IndexCheckpoint>, Error> {
        self.ownership(|ownership| ownership.log_id = Some(log_id.to_owned()));
        let Some(stored) = self.stored().await? else {
            return Ok(None);
        };
        match self.ownership(|ownership| ownership.compare(stored.epoch, &stored.owner)) {
            Owner::ThisProcess => stored.checkpoint(),
            Owner::Older => Err(Error::failed(INTERFERENCE_MESSAGE)),
            Owner::Newer => Err(Error::Superseded),
        }
    }

    async fn claim(&self, log_id: &str) -> Result<Claimed, Error> {
        self.take_over(log_id, Content::Kept).await
    }

    async fn write(
        &self,
        documents: Vec<Document>,
        checkpoint: IndexCheckpoint,
    ) -> Result<Applied, Error> {
        let mut entries: Vec<_> = documents.iter().map(|d| Entry::Order(d.into())).collect();
        drop(documents);
        entries.push(Entry::Checkpoint(self.to_stored(&checkpoint)?));
        self.submit(&entries, checkpoint.position).await
    }

    fn write_limits(&self) -> WriteLimits {
        WriteLimits {
            documents: 25_000,
            first: 2_500,
            writes: 3,
        }
    }

    async fn clear(&self, log_id: &str) -> Result<(), Error> {
        self.take_over(log_id, Content::Deleted).await.map(|_| ())
    }

    fn name(&self) -> &'static str {
        "meilisearch"
    }

    async fn search(&self, request: SearchRequest) -> Result<Hits, Error> {
        self.hits(request).await
    }

    async fn compare(
        &self,
        first: Row,
        last: Row,
        documents: Vec<Document>,
    ) -> Result<Vec<IndexDifference>, Error> {
        self.owned().await?;
        let url = format!("{}/indexes/{}/documents/fetch", self.server.url, self.uid);
        let body = serde_json::json!({
            "filter": format!("row >= {first} AND row <= {last}"),
            "limit": 2 * documents.len() + 1000,
        });
        let fetched: FetchedDocuments = self
            .server
            .writes
            .request(&url, Method::Post { query: (), body }, 200)
            .await
            .map_err(failed)?;
        let indexed: BTreeMap<_, _> = fetched
            .results
            .into_iter()
            .map(|indexed| (indexed.row, indexed))
            .collect();
        let is_equal = |indexed: &Indexed, document: &Document| *indexed == document.into();
        Ok(differences(indexed, &documents, is_equal))
    }

    /// Meilisearch does not show what it has made of a document, so that only searches can tell.
    async fn inspect(&self, _: &Reader, _: mpsc::Sender<WronglyFound>) -> Result<(), Error> {
        Ok(())
    }
}

impl MeilisearchIndex {
    /// Claims the index.
    async fn take_over(&self, log_id: &str, content: Content) -> Result<Claimed, Error> {
        self.ownership(|ownership| ownership.log_id = Some(log_id.to_owned()));
        let found = self.stored().await?;
        if !self.is_next {
            self.remove_unfinished_unless_open().await?;
        }
        let held = found.as_ref().map(|found| (found.epoch, &*found.owner));
        let rewind = match self.ownership(|ownership| ownership.take(held, ownership::now())) {
            Claim::Superseded => return Err(Error::Superseded),
            Claim::Resume => None,
            Claim::RewindTo(position) => Some(position),
        };
        // The settings of an index without a valid checkpoint are unknown.
        let is_prepared = found.is_some() && content == Content::Kept;
        if !is_prepared {
            self.prepare().await?;
            self.ownership(|ownership| ownership.last = None);
        }
        self.record_created().await?;
        let found = found.filter(|_| is_prepared);
        let stored = found
            .as_ref()
            .map_or(Ok(None), StoredCheckpoint::checkpoint)?;
        let checkpoint = stored.map(|stored| IndexCheckpoint {
            position: rewind.map_or(stored.position, |to| stored.position.min(to)),
            answers: rewind.map_or(stored.answers, |_| 0),
            names: rewind.map_or(stored.names, |to| stored.names.min(ChangeCursor::at(to))),
            event_id: rewind.map_or_else(|| stored.event_id.clone(), |_| String::new()),
            ..stored
        });
        let position = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.position);
        let outdated = found
            .as_ref()
            .is_some_and(|found| found.schema != self.schema);
        let mut claim = self.to_stored(&checkpoint.clone().unwrap_or_else(empty_checkpoint))?;
        if let Some(found) = found {
            // The existing documents are still of the schema that made them.
            claim.schema = found.schema;
        }
        // The claim follows directly on the deletion. Another indexer of this log that finds no claim
        // empties the index too, and both could go on doing so.
        let emptying = match checkpoint {
            Some(_) => None,
            None => Some(self.start_emptying().await?),
        };
        let claimed = self.submit(&[Entry::Checkpoint(claim)], position).await?;
        claimed.await?;
        if let Some(task) = emptying {
            self.server.wait_for_task(task).await?;
        }
        self.ownership(|ownership| ownership.record_claim(position));
        Ok(Claimed {
            checkpoint,
            outdated,
        })
    }

    /// Records which index this process claims.
    async fn record_created(&self) -> Result<(), Error> {
        let created = self
            .info()
            .await?
            .map_or_else(String::new, |info| info.created_at);
        self.ownership(|ownership| {
            if ownership.created != created {
                // The index was created anew, so `last` names a task of its predecessor.
                ownership.last = None;
            }
            ownership.created = created;
        });
        Ok(())
    }
}
