//! Writes: documents and checkpoint together, found at once, and still there after a restart.

use super::{Checkpoint, Fixture, checkpoint, customer, everything, filled, found, search};

pub(crate) async fn a_document_replaces_the_one_of_its_row(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Berlin"), customer(2, "Berlin")];
    let engine = filled(fixture, documents).await;
    let documents = vec![customer(1, "London")];
    engine.write(documents, checkpoint(2)).await.unwrap();
    assert_eq!(found(&*engine, "berlin").await, [2]);
    assert_eq!(found(&*engine, "london").await, [1]);
    assert_eq!(found(&*engine, "").await, [2, 1]);
}

pub(crate) async fn the_last_document_of_a_row_in_one_write_counts(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Berlin"), customer(1, "London")];
    let engine = filled(fixture, documents).await;
    assert!(found(&*engine, "berlin").await.is_empty());
    assert_eq!(found(&*engine, "london").await, [1]);
}

pub(crate) async fn an_empty_index_has_no_checkpoint(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    assert_eq!(engine.checkpoint().await.unwrap(), None);
    let hits = search(&*engine, everything()).await;
    assert_eq!(hits.total, 0);
}

pub(crate) async fn a_checkpoint_comes_back_as_it_was_written(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for position in [7, u64::MAX] {
        let written = Checkpoint {
            log_id: "a log, \"this\" one".into(),
            position,
            generation: 3,
        };
        let documents = vec![customer(1, "Berlin")];
        engine.write(documents, written.clone()).await.unwrap();
        assert_eq!(engine.checkpoint().await.unwrap(), Some(written));
    }
}

pub(crate) async fn a_write_without_documents_moves_the_checkpoint(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    engine.write(Vec::new(), checkpoint(9)).await.unwrap();
    assert_eq!(engine.checkpoint().await.unwrap(), Some(checkpoint(9)));
    assert_eq!(found(&*engine, "").await, [1]);
}

pub(crate) async fn a_restart_finds_everything(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    let documents = vec![customer(2, "Berlin")];
    engine.write(documents, checkpoint(2)).await.unwrap();
    drop(engine);
    let engine = fixture.open().await;
    assert_eq!(engine.checkpoint().await.unwrap(), Some(checkpoint(2)));
    assert_eq!(found(&*engine, "berlin").await, [2, 1]);
    let documents = vec![customer(1, "London")];
    engine.write(documents, checkpoint(3)).await.unwrap();
    assert_eq!(found(&*engine, "berlin").await, [2]);
}

pub(crate) async fn clearing_empties_the_index_for_good(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    engine.clear().await.unwrap();
    assert_eq!(engine.checkpoint().await.unwrap(), None);
    assert!(found(&*engine, "").await.is_empty());
    drop(engine);
    let engine = fixture.open().await;
    assert_eq!(engine.checkpoint().await.unwrap(), None);
    assert!(found(&*engine, "").await.is_empty());
    let documents = vec![customer(2, "London")];
    engine.write(documents, checkpoint(5)).await.unwrap();
    assert_eq!(engine.checkpoint().await.unwrap(), Some(checkpoint(5)));
    assert_eq!(found(&*engine, "").await, [2]);
}
