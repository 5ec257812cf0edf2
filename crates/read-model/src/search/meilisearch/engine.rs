//! The operations of the search engine: claims, writes and comparisons.

use std::collections::BTreeMap;

use meilisearch_sdk::request::{HttpClient as _, Method};
use serde::Deserialize;

use super::{
    INTERFERENCE_MESSAGE, MeilisearchIndex,
    document::Indexed,
    failed,
    ownership::{self, Claim, Owner},
    stored::{Entry, StoredCheckpoint, empty_checkpoint},
};
use crate::Row;
use crate::search::{
    Applied, Claimed, Document, Engine, Error, Hits, IndexCheckpoint, IndexDifference,
    SearchRequest, WriteLimits, differences,
};

#[derive(Debug, Deserialize)]
struct FetchedDocuments {
    results: Vec<Indexed>,
}

#[async_trait::async_trait]
impl Engine for MeilisearchIndex {
    async fn checkpoint(&self) -> Result<Option<IndexCheckpoint>, Error> {
        let Some(stored) = self.stored().await? else {
            return Ok(None);
        };
        match self.ownership(|ownership| ownership.compare(stored.epoch, &stored.owner)) {
            Owner::ThisProcess => stored.checkpoint(),
            Owner::Older => Err(Error::failed(INTERFERENCE_MESSAGE)),
            Owner::Newer => Err(Error::Superseded),
        }
    }

    async fn claim(&self) -> Result<Claimed, Error> {
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
        if found.is_none() {
            // An existing index without a valid checkpoint is not usable.
            self.delete().await?;
            self.prepare().await?;
            self.ownership(|ownership| ownership.last = None);
        }
        let created = self.created().await?.unwrap_or_default();
        self.ownership(|ownership| {
            if ownership.created != created {
                // The index was created anew, so `last` names a task of its predecessor.
                ownership.last = None;
            }
            ownership.created = created;
        });
        let stored = found
            .as_ref()
            .map_or(Ok(None), StoredCheckpoint::checkpoint)?;
        let checkpoint = stored.map(|stored| IndexCheckpoint {
            position: rewind.map_or(stored.position, |to| stored.position.min(to)),
            answers: rewind.map_or(stored.answers, |_| 0),
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
        self.submit(&[Entry::Checkpoint(claim)], position)
            .await?
            .await?;
        self.ownership(|ownership| ownership.record_claim(position));
        Ok(Claimed {
            checkpoint,
            outdated,
        })
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
            writes: 3,
        }
    }

    async fn clear(&self) -> Result<(), Error> {
        self.delete().await?;
        self.ownership(|ownership| ownership.last = None);
        self.claim().await.map(|_| ())
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
}
