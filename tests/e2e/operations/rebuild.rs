//! Tests of rebuilds and rollbacks.

use contract::orders::v1::*;
use e2e::{Clients, Server};
use test_support::{
    assert_invalid_fields, assert_refused, order,
    request::{rebuild, roll_back},
    sqlite, wait_until,
};
use tonic::Code;

use super::{fill, generations, while_writing};

/// The answers of the queries at a position.
#[derive(Debug, PartialEq)]
struct Answers {
    listed: Vec<Order>,
    found: Vec<Order>,
    statistics: GetStatisticsResponse,
}

impl Answers {
    async fn at(clients: &mut Clients, position: u64) -> Self {
        let listed = clients.search("", position).await.unwrap().orders;
        let mut found = clients.search("tea", position).await.unwrap().orders;
        found.sort_by_key(|order| order.position);
        let request = GetStatisticsRequest {
            by_day: true,
            ..GetStatisticsRequest::default()
        };
        let statistics = clients.queries.get_statistics(request).await.unwrap();
        let statistics = GetStatisticsResponse {
            as_of_position: 0,
            ..statistics.into_inner()
        };
        Self {
            listed,
            found,
            statistics,
        }
    }
}

#[tokio::test]
async fn g9_a_rebuild_gives_the_same_answers_and_can_be_rolled_back() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 40).await;
    let before = Answers::at(&mut clients, position).await;
    assert_eq!((before.listed.len(), before.found.len()), (40, 40));
    let first_generation = clients.rebuild(roll_back(&["search"])).await;
    assert_refused(
        first_generation,
        Code::FailedPrecondition,
        "REBUILD_NOT_POSSIBLE",
    );

    let steps = clients.rebuild(rebuild(&[])).await.unwrap();
    let done = steps
        .iter()
        .filter(|step| step.stage() == RebuildStage::Done);
    let done: Vec<_> = done
        .map(|step| (&step.projection[..], step.generation, step.done_position))
        .collect();
    assert_eq!(done, [("documents", 2, position), ("search", 2, position)]);
    assert_eq!(generations(&mut clients).await, [2, 2]);
    assert_eq!(Answers::at(&mut clients, position).await, before);
    clients.assert_verified(&[]).await;

    // New events reach both generations, so a rollback loses none.
    let late = clients.create("late").await;
    let after = Answers::at(&mut clients, late).await;
    assert_eq!(after.listed.len(), 41);
    clients.rebuild(roll_back(&[])).await.unwrap();
    assert_eq!(generations(&mut clients).await, [1, 1]);
    assert_eq!(Answers::at(&mut clients, late).await, after);
    clients.assert_verified(&[]).await;

    server.start_again().await;
    let mut clients = server.clients().await;
    assert_eq!(Answers::at(&mut clients, late).await, after);
    assert_eq!(generations(&mut clients).await, [1, 1]);
    clients.rebuild(rebuild(&[])).await.unwrap();
    assert_eq!(generations(&mut clients).await, [3, 2]);
    assert_eq!(Answers::at(&mut clients, late).await, after);
}

#[tokio::test]
async fn g9_queries_never_find_fewer_orders_during_a_rebuild() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let head = fill(&mut clients, 300).await;
    clients.search("tea", head).await.unwrap();

    let (mut writing, mut rebuilding) = (clients.clone(), clients.clone());
    let rebuilt = tokio::spawn(async move { rebuilding.rebuild(rebuild(&[])).await });
    let write = async |count| {
        writing.create(&format!("w-{count}")).await;
    };
    let never_fewer = async {
        let (mut listed, mut found, mut as_of) = (300, 300, head);
        while !rebuilt.is_finished() {
            let answer = clients.search("", 0).await.unwrap();
            assert!(
                answer.total_size >= listed,
                "{} < {listed}",
                answer.total_size
            );
            assert!(answer.as_of_position >= as_of);
            (listed, as_of) = (answer.total_size, answer.as_of_position);
            let answer = clients.search("tea", 0).await.unwrap();
            assert!(
                answer.total_size >= found,
                "{} < {found}",
                answer.total_size
            );
            found = answer.total_size;
        }
        rebuilt.await.unwrap().unwrap();
    };
    let written = while_writing(write, never_fewer).await;
    assert_eq!(generations(&mut clients).await, [2, 2]);
    let head = clients.head().await;
    let found = clients.search("tea", head).await.unwrap();
    assert_eq!(found.total_size, 300 + written);
    clients.assert_verified(&[]).await;
}

#[tokio::test]
async fn g9_documents_of_an_older_version_answer_until_they_are_rebuilt() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let position = fill(&mut clients, 10).await;
    let before = Answers::at(&mut clients, position).await.listed;
    server.stop().await;
    sqlite::run(
        &server.folder().join("read.db"),
        "UPDATE checkpoint SET schema = 0; UPDATE customers SET name = 'name of the old version'",
    )
    .await;
    server.start_again().await;
    let mut clients = server.clients().await;
    wait_until("the documents are of generation 2", async || {
        generations(&mut clients).await[0] == 2
    })
    .await;
    assert_eq!(Answers::at(&mut clients, position).await.listed, before);
    server.start_again().await;
    let mut clients = server.clients().await;
    assert_eq!(Answers::at(&mut clients, position).await.listed, before);
    assert_eq!(generations(&mut clients).await[0], 2, "no second rebuild");
}

#[tokio::test]
async fn g9_g10_an_index_is_rebuilt_while_its_orders_keep_changing() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    fill(&mut clients, 20).await;
    let mut writing = clients.clone();
    let rename = async |count| {
        let name = order::customer("c-0", &format!("Ann {count}"));
        writing.register_customer(name).await.unwrap();
    };
    while_writing(rename, async {
        for _ in 0..3 {
            clients.rebuild(rebuild(&[])).await.unwrap();
        }
    })
    .await;
    assert_eq!(generations(&mut clients).await, [4, 4]);
    clients.assert_verified(&[]).await;
}

#[tokio::test]
async fn an_unknown_projection_or_part_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let unknown = clients.rebuild(rebuild(&["documents", "events"])).await;
    assert_invalid_fields(unknown, &["projections[1]"]);
    let unknown = clients.verify(&["everything"]).await;
    assert_invalid_fields(unknown, &["parts[0]"]);
}
