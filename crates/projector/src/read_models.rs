//! The live read models of a node, and the handles of the tasks that write them.

use std::sync::Arc;

use read_model::{generations::Generations, search::LiveIndex, store::Reader};

use crate::{Nodes, documents::DocumentsHandle, indexer::IndexerHandle};

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
