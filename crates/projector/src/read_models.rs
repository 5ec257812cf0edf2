//! The live read models of a node, and the handles of the tasks that write them.

use std::{sync::Arc, time::Duration};

use contract::orders::v1::GetHeadRequest;
use read_model::{generations::Generations, search::LiveIndex, store::Reader};

use crate::{Nodes, documents::DocumentsHandle, indexer::IndexerHandle};

/// Maximum time for a node to return the head of the log.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// The live read models of a node. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ReadModels {
    /// The nodes that stream the log.
    pub(crate) nodes: Nodes,
    /// The generations of the documents on disk.
    pub(crate) generations: Generations,
    /// Reads the live documents.
    pub(crate) reader: Reader,
    /// The task that writes the documents.
    pub(crate) documents: DocumentsHandle,
    /// The live search index.
    pub(crate) engine: Arc<dyn LiveIndex>,
    /// The task that writes or follows the index.
    pub(crate) indexer: IndexerHandle,
}

impl ReadModels {
    /// Returns the log's present head, since a projection that has stopped does not learn of it.
    /// Returns `None` if the node does not answer.
    pub(crate) async fn head(&self) -> Option<u64> {
        let mut node = self.nodes.current();
        let head = tokio::time::timeout(HEAD_TIMEOUT, node.get_head(GetHeadRequest {})).await;
        Some(head.ok()?.ok()?.into_inner().position)
    }
}
