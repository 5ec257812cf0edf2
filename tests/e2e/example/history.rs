//! Tests of the subscriber in `examples/` at a log that lacks the events that the warehouse has seen.

use contract::orders::v1::{GetHeadRequest, SubscribeResponse};
use e2e::Server;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use test_support::postgres;

use super::{
    ended, follow::Error, follow_to, position::Position, source::Source, to_pack,
    wait_for_position, warehouse::Warehouse,
};
use crate::history::{copy_log, go_back};

#[tokio::test]
async fn a_response_is_applied_only_after_the_position_that_it_follows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.db");
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let mut other = Warehouse::open(&file).await.unwrap();
    let start = Position::default();
    let (first, second) = (response("one", 1), response("one", 2));
    assert!(warehouse.apply(&first, &start).await.unwrap());
    assert!(!other.apply(&first, &start).await.unwrap());
    assert!(other.apply(&second, &Position::of(&first)).await.unwrap());
    // The event at position 2 is another one in another history.
    let elsewhere = Position {
        resume_token: "after another 2".into(),
        ..Position::of(&second)
    };
    assert!(!other.apply(&response("one", 3), &elsewhere).await.unwrap());
    let stored = warehouse.position().await.unwrap();
    assert_eq!(stored, Position::of(&second));
}

fn response(log_id: &str, position: u64) -> SubscribeResponse {
    SubscribeResponse {
        log_id: log_id.into(),
        position,
        resume_token: format!("after {position}"),
        ..SubscribeResponse::default()
    }
}

#[tokio::test]
async fn a_warehouse_of_an_earlier_version_resumes_and_gets_a_token() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create_many("o", 3).await;
    let head = clients.get_head(GetHeadRequest {}).await.unwrap();
    let log_id = head.log_id;
    let folder = tempfile::tempdir().unwrap();
    let earlier = async |log_id: &str, position: u64| {
        let file = folder.path().join(format!("{log_id}-{position}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(
            "CREATE TABLE progress (
                 only INTEGER PRIMARY KEY CHECK (only = 1), log_id TEXT NOT NULL, position INTEGER
             )",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::query("INSERT INTO progress VALUES (1, ?, ?)")
            .bind(log_id)
            .bind(position.cast_signed())
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        file
    };
    let source = Source::new(server.url(), None, None).unwrap();
    let file = earlier(&log_id, 1).await;
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let stored = warehouse.position().await.unwrap();
    assert_eq!((stored.log_id.as_str(), stored.position), (&*log_id, 1));
    follow_to(&source, &mut warehouse, &file, 3).await;
    assert_eq!(to_pack(&file).await, ["o-1", "o-2"]);
    assert_ne!(warehouse.position().await.unwrap().resume_token, "");

    for (log_id, position, expected) in [
        (&*log_id, 4, ("POSITION_BEYOND_HEAD", Some(4), None)),
        ("another", 1, ("LOG_MISMATCH", None, None)),
    ] {
        let file = earlier(log_id, position).await;
        let mut warehouse = Warehouse::open(file).await.unwrap();
        assert_lost(ended(&source, &mut warehouse).await, expected);
    }
}

/// Asserts the reason, the position and the shared position of [`Error::OtherHistory`].
fn assert_lost(error: Error, expected: (&str, Option<u64>, Option<u64>)) {
    let Error::OtherHistory {
        reason,
        position,
        shared_position,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((reason.as_str(), *position, *shared_position), expected);
    assert!(error.to_string().starts_with(reason));
}

#[tokio::test]
async fn g12_subscriber_stops_at_a_log_file_that_lost_its_events() {
    let mut server = Server::start().await;
    server.clients().await.create_many("kept", 2).await;
    server.stop().await;
    let saved = tempfile::tempdir().unwrap();
    copy_log(server.folder(), saved.path());
    server.start_again().await;
    server.clients().await.create("lost").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.db");
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let source = Source::new(server.url(), None, None).unwrap();
    follow_to(&source, &mut warehouse, &file, 3).await;
    server.stop().await;
    copy_log(saved.path(), server.folder());
    server.start_again().await;
    // The log grows past the position of the subscriber.
    server.clients().await.create_many("other", 2).await;
    let source = Source::new(server.url(), None, None).unwrap();
    let error = ended(&source, &mut warehouse).await;
    assert_lost(error, ("LOG_DIVERGED", Some(3), None));
    assert_eq!(to_pack(&file).await, ["kept-0", "kept-1", "lost"]);
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g12_subscriber_is_told_the_shared_position_when_the_log_goes_back() {
    let database = postgres::database().await;
    let server = Server::start_on(&database).await;
    let mut clients = server.clients().await;
    clients.create_many("kept", 5).await;
    clients.create_many("lost", 5).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.db");
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let source = Source::new(server.url(), None, None).unwrap();
    let goes_back = async {
        wait_for_position(&file, 10).await;
        go_back(&database, 5).await;
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        () = goes_back => unreachable!("it is pending"),
        error = ended(&source, &mut warehouse) => error,
    };
    assert_lost(error, ("LOG_DIVERGED", Some(10), Some(5)));
}
