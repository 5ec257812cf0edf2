//! Tests of nodes that only accept commands or only answer queries.

use contract::orders::v1::*;
use e2e::Server;
use test_support::{Proxy, assert_refused, eventually, order, postgres, request, wait_until};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::health::{health, wait_until_serving};

fn address(server: &Server) -> String {
    server.url().replace("http://", "")
}

fn through(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address())
}

#[tokio::test]
async fn a_node_serves_the_calls_of_its_roles_only() {
    let writes = Server::start_for_commands(None).await;
    let reads = Server::start_for_queries(&[&writes.url()]).await;
    let (mut writing, mut reading) = (writes.clients().await, reads.clients().await);
    let position = writing.create("o").await;
    assert_eq!(reading.order("o", position).await.order_id, "o");

    let refused = reading.create_order(order::create("", "ann")).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let refused = reading.get_head(GetHeadRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let refused = writing.get_order(request::order("o", 0)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    assert!(!writes.folder().join("read.db").exists());
    assert!(!reads.folder().join("events.db").exists());
}

#[tokio::test]
async fn a_node_reports_the_health_of_the_services_of_its_roles_only() {
    let writes = Server::start_for_commands(None).await;
    let reads = Server::start_for_queries(&[&writes.url()]).await;
    let of_commands = ["orders.v1.CommandService", "orders.v1.EventService"];
    let of_queries = ["orders.v1.QueryService", "orders.v1.ProjectionService"];
    for (node, served, not_served) in [
        (&writes, of_commands, of_queries),
        (&reads, of_queries, of_commands),
    ] {
        let clients = node.clients().await;
        for service in served {
            wait_until_serving(&clients, service).await;
        }
        for service in not_served {
            assert_eq!(health(&clients, service).await, None, "{service}");
        }
    }
}

#[tokio::test]
async fn a_query_node_is_not_serving_until_it_has_projected_the_log() {
    let writes = Server::start_for_commands(None).await;
    writes.clients().await.create_many("o", 300).await;
    let network = Proxy::to(&address(&writes)).await;
    network.darken();
    let reads = Server::start_for_queries(&[&through(&network)]).await;
    let mut reading = reads.clients().await;
    for service in ["orders.v1.QueryService", ""] {
        let status = health(&reading, service).await;
        assert_eq!(status, Some(ServingStatus::NotServing), "{service}");
    }
    // This service reports the progress meanwhile.
    let status = health(&reading, "orders.v1.ProjectionService").await;
    assert_eq!(status, Some(ServingStatus::Serving));

    network.mend();
    for service in ["orders.v1.QueryService", ""] {
        wait_until_serving(&reading, service).await;
    }
    // These queries wait for no position.
    assert_eq!(reading.total_orders(0).await, 300);
    assert_eq!(reading.search("o", 0).await.unwrap().total_size, 300);
}

#[tokio::test]
async fn g6_g8_a_query_node_turns_to_another_node_when_its_own_is_cut_off_or_silent() {
    let writes = Server::start_for_commands(None).await;
    let networks = [
        Proxy::to(&address(&writes)).await,
        Proxy::to(&address(&writes)).await,
    ];
    let urls = networks.each_ref().map(through);
    let reads = Server::start_for_queries(&[&urls[0], &urls[1]]).await;
    let (mut writing, mut reading) = (writes.clients().await, reads.clients().await);
    let position = writing.create("whole").await;
    reading.order("whole", position).await;

    networks[0].cut();
    let position = writing.create("cut").await;
    reading.order("cut", position).await;

    networks[0].mend();
    networks[1].darken();
    let position = writing.create("dark").await;
    reading.order("dark", position).await;
    assert_eq!(reading.total_orders(0).await, 3, "each event once");
}

#[tokio::test]
async fn a_query_node_that_reaches_no_command_node_answers_and_reports_a_growing_lag() {
    let mut writes = Server::start_for_commands(None).await;
    let mut reads = Server::start_for_queries(&[&writes.url()]).await;
    let position = writes.clients().await.create("o").await;
    let mut reading = reads.clients().await;
    reading.order("o", position).await;
    writes.stop().await;
    let failing = eventually("the documents are failing", async || {
        let documents = reading.projection("documents").await;
        (documents.state() == ProjectionState::Failing).then_some(documents)
    })
    .await;
    assert!(!failing.error.is_empty());
    let mut lag = async || {
        let lag = reading.projection("documents").await.lag.unwrap();
        (lag.seconds, lag.nanos)
    };
    let first = lag().await;
    wait_until("the lag grows", async || lag().await > first).await;
    reading.order("o", position).await;
    let ahead = GetOrderRequest {
        max_wait: Some(prost_types::Duration::default()),
        ..request::order("o", position + 1)
    };
    let refused = reading.get_order(ahead).await;
    assert_refused(refused, Code::DeadlineExceeded, "READ_MODEL_BEHIND");

    // A node that has just started does not know how many events it misses.
    reads.start_again().await;
    let status = health(&reads.clients().await, "orders.v1.QueryService").await;
    assert_eq!(status, Some(ServingStatus::NotServing));
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g6_g8_a_position_of_any_command_node_holds_on_any_query_node() {
    let database = postgres::database().await;
    let mut first = Server::start_for_commands(Some(&database)).await;
    let second = Server::start_for_commands(Some(&database)).await;
    let reads = [
        Server::start_for_queries(&[&first.url(), &second.url()]).await,
        Server::start_for_queries(&[&second.url(), &first.url()]).await,
    ];
    let mut reading = [reads[0].clients().await, reads[1].clients().await];
    let mut writing = [first.clients().await, second.clients().await];
    for index in 0..20 {
        let id = format!("o-{index}");
        let position = writing[index % 2].create(&id).await;
        for reading in &mut reading {
            reading.order(&id, position).await;
        }
    }
    first.stop().await;
    let position = writing[1].create("after").await;
    assert_eq!(position, 21);
    for reading in &mut reading {
        reading.order("after", position).await;
        assert_eq!(reading.total_orders(0).await, 21);
    }
}
