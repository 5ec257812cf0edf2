//! Generations: a rebuild fills the next one, and the switch makes it live.

use std::sync::Arc;

use super::{
    Engine, Fixture, IndexCheckpoint, LiveIndex, NextGeneration, checkpoint, customer, filled,
    found, write,
};

fn of_generation(generation: u64, position: u64) -> IndexCheckpoint {
    IndexCheckpoint {
        generation,
        ..checkpoint(position)
    }
}

async fn open_next(engine: &dyn LiveIndex, next: NextGeneration) -> Option<Arc<dyn Engine>> {
    engine.open_next(next).await.unwrap()
}

pub(crate) async fn g9_a_switch_replaces_the_live_generation_and_can_be_rolled_back(
    fixture: &dyn Fixture,
) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    assert!(
        open_next(&*engine, NextGeneration::Previous)
            .await
            .is_none()
    );

    let new = open_next(&*engine, NextGeneration::New).await.unwrap();
    assert_eq!(new.claim("log").await.unwrap().checkpoint, None);
    write(&*new, vec![customer(1, "London")], of_generation(2, 2)).await;
    assert_eq!(found(&*engine, "berlin").await, [1], "the old one answers");
    engine.switch().await.unwrap();
    drop(new);
    assert_eq!(found(&*engine, "london").await, [1]);
    let claimed = engine.claim("log").await.unwrap();
    assert_eq!(claimed.checkpoint, Some(of_generation(2, 2)));
    write(&*engine, vec![customer(2, "London")], of_generation(2, 3)).await;
    drop(engine);

    let engine = fixture.open().await;
    assert_eq!(found(&*engine, "london").await, [2, 1]);
    let previous = open_next(&*engine, NextGeneration::Previous).await.unwrap();
    assert_eq!(
        previous.claim("log").await.unwrap().checkpoint,
        Some(checkpoint(1))
    );
    write(&*previous, vec![customer(2, "Berlin")], checkpoint(3)).await;
    engine.switch().await.unwrap();
    assert_eq!(found(&*engine, "berlin").await, [2, 1]);
    assert_eq!(
        engine.claim("log").await.unwrap().checkpoint,
        Some(checkpoint(3))
    );
}

pub(crate) async fn g9_an_unfinished_generation_is_removed_at_restart(fixture: &dyn Fixture) {
    let engine = filled(fixture, vec![customer(1, "Berlin")]).await;
    let new = open_next(&*engine, NextGeneration::New).await.unwrap();
    new.claim("log").await.unwrap();
    write(&*new, vec![customer(1, "London")], of_generation(2, 2)).await;
    drop((new, engine));
    let engine = fixture.open().await;
    assert_eq!(found(&*engine, "berlin").await, [1]);
    assert!(
        open_next(&*engine, NextGeneration::Previous)
            .await
            .is_none()
    );

    let new = open_next(&*engine, NextGeneration::New).await.unwrap();
    new.claim("log").await.unwrap();
    drop(new);
    engine.discard_next().await.unwrap();
    assert!(
        open_next(&*engine, NextGeneration::Previous)
            .await
            .is_none()
    );
    assert_eq!(found(&*engine, "berlin").await, [1]);
}
