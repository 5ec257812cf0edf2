//! Tests of nodes that only accept commands or only answer queries.

use contract::orders::v1::*;
use e2e::{Clients, Server};
use test_support::{Proxy, eventually, order, postgres, reason};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

fn address(server: &Server) -> String {
    server.url().replace("http://", "")
}

fn through(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address())
}

/// Returns the health of a service, or `None` if the service does not exist.
async fn health(clients: &Clients, service: &str) -> Option<ServingStatus> {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let checked = HealthClient::new(clients.channel.clone())
        .check(request)
        .await;
    Some(checked.ok()?.into_inner().status())
}

async fn create(clients: &mut Clients, id: &str) -> u64 {
    let created = clients
        .commands
        .create_order(order::create(id, "ann"))
        .await;
    created.unwrap().into_inner().position
}

async fn documents(clients: &mut Clients) -> ProjectionStatus {
    let status = clients.projections.get_status(GetStatusRequest {}).await;
    status.unwrap().into_inner().projections.remove(0)
}

#[tokio::test]
async fn a_node_has_the_services_of_its_roles_and_no_others() {
    let writes = Server::start_for_commands(None).await;
    let reads = Server::start_for_queries(&[&writes.url()]).await;
    let (mut writing, mut reading) = (writes.clients().await, reads.clients().await);
    let position = create(&mut writing, "o").await;
    assert_eq!(reading.order("o", position).await.order_id, "o");

    let refused = reading
        .commands
        .create_order(order::create("", "ann"))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let refused = reading.events.get_head(GetHeadRequest {}).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    let refused = writing
        .queries
        .get_statistics(GetStatisticsRequest::default());
    assert_eq!(refused.await.unwrap_err().code(), Code::Unimplemented);
    assert!(!writes.folder().join("read.db").exists());
    assert!(!reads.folder().join("events.db").exists());

    for (clients, has, has_not) in [
        (
            &writing,
            ["CommandService", "EventService"],
            ["QueryService", "ProjectionService"],
        ),
        (
            &reading,
            ["QueryService", "ProjectionService"],
            ["CommandService", "EventService"],
        ),
    ] {
        for service in has {
            let service = format!("orders.v1.{service}");
            eventually(&service, async || {
                let status = health(clients, &service).await;
                (status == Some(ServingStatus::Serving)).then_some(())
            })
            .await;
        }
        for service in has_not {
            assert_eq!(health(clients, &format!("orders.v1.{service}")).await, None);
        }
    }
}

#[tokio::test]
async fn a_query_node_fills_itself_and_says_when_it_is_ready() {
    let writes = Server::start_for_commands(None).await;
    let mut writing = writes.clients().await;
    for index in 0..300 {
        create(&mut writing, &format!("o-{index}")).await;
    }
    let network = Proxy::to(&address(&writes)).await;
    network.darken();
    let reads = Server::start_for_queries(&[&through(&network)]).await;
    let mut reading = reads.clients().await;
    for service in ["orders.v1.QueryService", ""] {
        let status = health(&reading, service).await;
        assert_eq!(status, Some(ServingStatus::NotServing), "{service}");
    }
    let status = health(&reading, "orders.v1.ProjectionService").await;
    assert_eq!(
        status,
        Some(ServingStatus::Serving),
        "it tells how far it is"
    );

    network.mend();
    for service in ["orders.v1.QueryService", ""] {
        eventually("it is ready", async || {
            let status = health(&reading, service).await;
            (status == Some(ServingStatus::Serving)).then_some(())
        })
        .await;
    }
    let statistics = reading
        .queries
        .get_statistics(GetStatisticsRequest::default());
    let statistics = statistics.await.unwrap().into_inner();
    assert_eq!(statistics.total_orders, 300, "without being asked to wait");
    let search = SearchOrdersRequest {
        query: "o".into(),
        ..SearchOrdersRequest::default()
    };
    let found = reading.queries.search_orders(search).await.unwrap();
    assert_eq!(found.into_inner().total_size, 300);
}

#[tokio::test]
async fn g6_g8_a_query_node_goes_on_at_another_node_when_its_own_is_cut_off_or_silent() {
    let writes = Server::start_for_commands(None).await;
    let networks = [
        Proxy::to(&address(&writes)).await,
        Proxy::to(&address(&writes)).await,
    ];
    let urls = networks.each_ref().map(through);
    let reads = Server::start_for_queries(&[&urls[0], &urls[1]]).await;
    let (mut writing, mut reading) = (writes.clients().await, reads.clients().await);
    let position = create(&mut writing, "whole").await;
    reading.order("whole", position).await;

    networks[0].cut();
    let position = create(&mut writing, "cut").await;
    reading.order("cut", position).await;

    networks[0].mend();
    networks[1].darken();
    let position = create(&mut writing, "dark").await;
    reading.order("dark", position).await;
    let statistics = reading
        .queries
        .get_statistics(GetStatisticsRequest::default());
    let statistics = statistics.await.unwrap().into_inner();
    assert_eq!(statistics.total_orders, 3, "each event once");
}

#[tokio::test]
async fn a_query_node_whose_nodes_are_all_gone_answers_and_says_that_it_may_be_behind() {
    let mut writes = Server::start_for_commands(None).await;
    let mut reads = Server::start_for_queries(&[&writes.url()]).await;
    let position = create(&mut writes.clients().await, "o").await;
    let mut reading = reads.clients().await;
    reading.order("o", position).await;
    writes.stop().await;
    let failing = eventually("it says so", async || {
        let status = documents(&mut reading).await;
        (status.state() == ProjectionState::Failing).then_some(status)
    })
    .await;
    assert!(!failing.error.is_empty());
    let lag = async |reading: &mut Clients| {
        let lag = documents(reading).await.lag.unwrap();
        (lag.seconds, lag.nanos)
    };
    let at_first = lag(&mut reading).await;
    eventually("what it may be behind grows", async || {
        (lag(&mut reading).await > at_first).then_some(())
    })
    .await;
    reading.order("o", position).await;
    let ahead = GetOrderRequest {
        order_id: "o".into(),
        min_position: position + 1,
        max_wait: Some(prost_types::Duration::default()),
        ..GetOrderRequest::default()
    };
    let refused = reading.queries.get_order(ahead).await.unwrap_err();
    assert_eq!(reason(&refused), "READ_MODEL_BEHIND");

    reads.start_again().await;
    let reading = reads.clients().await;
    let status = health(&reading, "orders.v1.QueryService").await;
    assert_eq!(
        status,
        Some(ServingStatus::NotServing),
        "it does not know what it has missed"
    );
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
        let position = create(&mut writing[index % 2], &id).await;
        for reading in &mut reading {
            reading.order(&id, position).await;
        }
    }
    first.stop().await;
    let position = create(&mut writing[1], "after").await;
    assert_eq!(position, 21);
    for reading in &mut reading {
        reading.order("after", position).await;
        let statistics = reading
            .queries
            .get_statistics(GetStatisticsRequest::default());
        assert_eq!(statistics.await.unwrap().into_inner().total_orders, 21);
    }
}
