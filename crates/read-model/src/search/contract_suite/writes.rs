//! Writes: documents and checkpoint together, found at once, and still there after a restart.

use crate::{
    request::{Sort, SortField},
    search::{IndexDifference, SearchRequest},
};

use super::{
    Fixture, IndexCheckpoint, checkpoint, customer, everything, filled, found, search, with_words,
    write,
};
use crate::{Row, store::ChangeCursor};

pub(crate) async fn a_document_replaces_the_one_of_its_row(fixture: &dyn Fixture) {
    let documents = vec![customer(1, "Berlin"), customer(2, "Berlin")];
    let engine = filled(fixture, documents).await;
    let documents = vec![customer(1, "London")];
    write(&*engine, documents, checkpoint(2)).await;
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
    assert_eq!(engine.checkpoint("log").await.unwrap(), None);
    let hits = search(&*engine, everything()).await;
    assert_eq!((hits.total, hits.checkpoint), (0, None));
}

pub(crate) async fn g8_a_search_returns_the_checkpoint_of_the_searched_state(
    fixture: &dyn Fixture,
) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    let documents = vec![customer(1, "London"), customer(2, "Berlin")];
    write(&*engine, documents, checkpoint(7)).await;
    let sorted = SearchRequest {
        sort: Some(Sort {
            field: SortField::CreatedAt,
            descending: true,
        }),
        limit: 1,
        ..everything()
    };
    let first = search(&*engine, sorted.clone()).await;
    let second = SearchRequest {
        after: first.cursor(1),
        ..sorted
    };
    for request in [with_words("berlin"), with_words("nobody"), second] {
        let hits = search(&*engine, request).await;
        assert_eq!(hits.checkpoint, Some(checkpoint(7)));
    }
    engine.clear("log").await.unwrap();
    let hits = search(&*engine, with_words("berlin")).await;
    assert_eq!((hits.total, hits.checkpoint), (0, None));
}

pub(crate) async fn a_checkpoint_comes_back_as_it_was_written(fixture: &dyn Fixture) {
    let engine = fixture.open().await;
    for position in [7, u64::MAX] {
        let written = IndexCheckpoint {
            log_id: "a log, \"this\" one".into(),
            history: "a history".into(),
            read_position: u64::MAX,
            event_id: "an event".into(),
            position,
            answers: position / 2,
            names: ChangeCursor {
                position: position / 3,
                row: Row(position / 4),
            },
            generation: 3,
        };
        let documents = vec![customer(1, "Berlin")];
        write(&*engine, documents, written.clone()).await;
        assert_eq!(engine.checkpoint("log").await.unwrap(), Some(written));
    }
}

pub(crate) async fn a_write_without_documents_moves_the_checkpoint(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    write(&*engine, Vec::new(), checkpoint(9)).await;
    assert_eq!(engine.checkpoint("log").await.unwrap(), Some(checkpoint(9)));
    assert_eq!(found(&*engine, "").await, [1]);
}

pub(crate) async fn a_restart_finds_everything(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    let documents = vec![customer(2, "Berlin")];
    write(&*engine, documents, checkpoint(2)).await;
    drop(engine);
    let engine = fixture.open().await;
    assert_eq!(engine.checkpoint("log").await.unwrap(), Some(checkpoint(2)));
    assert_eq!(found(&*engine, "berlin").await, [2, 1]);
    let documents = vec![customer(1, "London")];
    write(&*engine, documents, checkpoint(3)).await;
    assert_eq!(found(&*engine, "berlin").await, [2]);
}

pub(crate) async fn clearing_empties_the_index_for_good(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    engine.clear("log").await.unwrap();
    assert_eq!(engine.checkpoint("log").await.unwrap(), None);
    assert!(found(&*engine, "").await.is_empty());
    drop(engine);
    let engine = fixture.open().await;
    assert_eq!(engine.checkpoint("log").await.unwrap(), None);
    assert!(found(&*engine, "").await.is_empty());
    let documents = vec![customer(2, "London")];
    write(&*engine, documents, checkpoint(5)).await;
    assert_eq!(engine.checkpoint("log").await.unwrap(), Some(checkpoint(5)));
    assert_eq!(found(&*engine, "").await, [2]);
}

pub(crate) async fn overlapping_writes_are_applied_in_order(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    let mut under_way = Vec::new();
    for position in 2..6 {
        let documents = vec![
            customer(1, &format!("Lima{position}")),
            customer(position, "x"),
        ];
        let applied = engine.write(documents, checkpoint(position)).await;
        under_way.push(applied.unwrap());
    }
    for applied in under_way {
        applied.await.unwrap();
    }
    assert_eq!(engine.checkpoint("log").await.unwrap(), Some(checkpoint(5)));
    assert_eq!(found(&*engine, "lima5").await, [1]);
    assert_eq!(found(&*engine, "").await, [5, 4, 3, 2, 1]);
}

pub(crate) async fn comparing_names_each_difference(fixture: &dyn Fixture) {
    let there = vec![
        customer(3, "Berlin"),
        customer(4, "London"),
        customer(6, "Extra"),
        customer(9, "outside"),
    ];
    let engine = filled(fixture, there).await;
    let should = vec![
        customer(3, "Berlin"),
        customer(4, "Lyon"),
        customer(5, "Missing"),
    ];
    let mut differences = engine.compare(Row(2), Row(8), should).await.unwrap();
    differences.sort_by_key(|difference| format!("{difference:?}"));
    assert_eq!(
        differences,
        [
            IndexDifference::Extra(Row(6)),
            IndexDifference::Missing(Row(5)),
            IndexDifference::Other(Row(4))
        ]
    );
    let same = vec![customer(9, "outside")];
    assert_eq!(engine.compare(Row(9), Row(9), same).await.unwrap(), []);
}
