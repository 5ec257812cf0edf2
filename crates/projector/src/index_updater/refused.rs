//! Finds the documents that the engine refuses, and parks their orders.

use read_model::{
    search::{self, Document, IndexCheckpoint},
    store::Parked,
};

use super::{
    Error, IndexUpdater,
    write::{parked, rows},
};

impl IndexUpdater {
    /// Indexes documents in one write. If the engine refuses it, writes them one by one and parks
    /// the refused ones. No other write may be in progress.
    pub(crate) async fn index(&mut self, documents: Vec<Document>) -> Result<(), Error> {
        // Not older than the given documents, which were read before.
        let read = self.documents.checkpoint().await?;
        self.has_read(read)?;
        let stores = IndexCheckpoint {
            read_position: self.applied.read_position,
            event_id: self.applied.event_id.clone(),
            ..self.stored.clone()
        };
        self.stored = stores.clone();
        let write = self.engine.write(documents.clone(), stores).await;
        let applied = async { write?.await };
        match applied.await {
            Err(search::Error::Refused(_) | search::Error::TooLarge(_)) => {}
            applied => {
                applied?;
                return self.unpark(rows(&documents)).await;
            }
        }
        for document in documents {
            let single = parked(&document);
            let row = document.row;
            let write = self.engine.write(vec![document], self.stored.clone());
            match write.await?.await {
                Err(search::Error::Refused(error)) => {
                    self.handle.park(Parked { error, ..single }).await?;
                }
                applied => {
                    applied?;
                    self.unpark(vec![row]).await?;
                }
            }
        }
        Ok(())
    }

    /// Halves the write size and submits all documents after `applied` once more: the engine
    /// refused one document of the oldest write, and therefore the whole write. Or it refused the
    /// newest write for its size.
    pub(super) async fn search_refused(&mut self, refused: &IndexCheckpoint) -> Result<(), Error> {
        let mut later = std::mem::take(&mut self.in_flight);
        while let Some(write) = later.pop_front() {
            match write.write.await {
                // The documents of this write are submitted once more, whether applied or
                // refused.
                Ok(()) => self.stored = write.stores,
                Err(search::Error::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.max_documents = (self.max_documents / 2).max(1);
        self.refused_until = (refused.position, refused.names);
        self.position = self.applied.position;
        self.backfill.restart(self.applied.names);
        Ok(())
    }
}
