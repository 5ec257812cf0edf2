//! Tests of `EventService` as a subscriber sees it.

use contract::orders::v1::{recorded_event::Payload, *};
use e2e::{Clients, Server, positions};
use test_support::{
    assert_invalid_fields, assert_refused, order,
    request::{events_after, follow},
};
use tonic::Code;

/// Creates one order per id, for two customers in turn.
async fn create(clients: &mut Clients, ids: std::ops::Range<usize>) {
    for index in ids {
        let customer = if index % 2 == 0 { "even" } else { "odd" };
        let create = order::create(&format!("o-{index}"), customer);
        clients.create_order(create).await.unwrap();
    }
}

/// Returns the positions of a stream that ends, grouped by response.
async fn batches(clients: &mut Clients, request: SubscribeRequest) -> Vec<Vec<u64>> {
    let mut stream = clients.subscribe(request).await.unwrap();
    let mut batches = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        batches.push(positions(&response.events));
    }
    batches
}

#[tokio::test]
async fn g3_g6_a_subscriber_gets_older_and_new_events_once_and_in_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..10).await;
    let mut stream = clients.subscribe(follow(4)).await.unwrap();
    let mut events = stream.take(6).await;
    create(&mut clients, 10..20).await;
    events.extend(stream.take(10).await);
    assert_eq!(positions(&events), (5..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_has_the_content_of_its_command() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let occurred_at = Some(wire::convert::timestamp(1_234_567_890_123_456_789));
    let create = CreateOrderRequest {
        occurred_at,
        ..order::create("o", "ann")
    };
    clients.create_order(create.clone()).await.unwrap();
    clients.ship_order(order::ship("o")).await.unwrap();
    let [created, shipped] = clients
        .order_history("o")
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!((created.position, created.version), (1, 1));
    assert_eq!(created.occurred_at, occurred_at);
    assert_eq!(created.aggregate_type(), AggregateType::Order);
    assert_eq!(created.request_id, create.request_id);
    assert_eq!(created.event_id.len(), 36);
    assert!(created.recorded_at.is_some());
    let Some(Payload::OrderCreated(payload)) = created.payload else {
        panic!("{created:?}")
    };
    assert_eq!(payload.total_amount, order::euros(250_000));
    assert_eq!(payload.items.len(), 1);
    assert_eq!((shipped.position, shipped.version), (2, 2));
    assert_eq!(shipped.customer_id, "ann");
    assert!(matches!(shipped.payload, Some(Payload::OrderShipped(_))));

    let unknown = clients.order_history("none").await;
    assert_refused(unknown, Code::NotFound, "ORDER_NOT_FOUND");
}

#[tokio::test]
async fn a_subscription_that_does_not_follow_ends_at_the_head() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    assert_eq!(clients.events(events_after(0)).await, []);
    create(&mut clients, 0..3).await;
    assert_eq!(positions(&clients.events(events_after(1)).await), [2, 3]);
    let mut stream = clients.subscribe(events_after(3)).await.unwrap();
    let only = stream.response().await;
    assert_eq!((only.position, only.head_position), (3, 3));
    assert!(only.caught_up);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_response_has_at_most_max_batch_size_events() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..7).await;
    let request = SubscribeRequest {
        max_batch_size: 3,
        ..events_after(0)
    };
    let batches = batches(&mut clients, request).await;
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert_eq!(batches.concat(), (1..=7).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_filter_selects_the_events_that_match_each_of_its_lists() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..4).await;
    let even = order::customer("even", "Even");
    clients.register_customer(even).await.unwrap();
    clients.ship_order(order::ship("o-2")).await.unwrap();
    let of_even = EventFilter {
        customer_ids: vec!["even".into()],
        ..EventFilter::default()
    };
    let of_two_orders = EventFilter {
        aggregate_ids: vec!["o-1".into(), "o-2".into()],
        ..EventFilter::default()
    };
    let of_names = EventFilter {
        aggregate_types: vec![
            AggregateType::Customer.into(),
            AggregateType::Product.into(),
        ],
        ..EventFilter::default()
    };
    let of_creation = EventFilter {
        event_types: vec!["OrderCreated".into()],
        ..EventFilter::default()
    };
    let of_creation_for_even = EventFilter {
        event_types: of_creation.event_types.clone(),
        ..of_even.clone()
    };
    for (filter, expected) in [
        (EventFilter::default(), &[1, 2, 3, 4, 5, 6][..]),
        (of_even, &[1, 3, 5, 6]),
        (of_two_orders, &[2, 3, 6]),
        (of_names, &[5]),
        (of_creation, &[1, 2, 3, 4]),
        (of_creation_for_even, &[1, 3]),
    ] {
        let request = SubscribeRequest {
            filter: Some(filter.clone()),
            ..events_after(0)
        };
        let found = positions(&clients.events(request).await);
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn g6_a_filtered_subscriber_gets_each_matching_event() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let request = SubscribeRequest {
        filter: Some(EventFilter {
            customer_ids: vec!["odd".into()],
            ..EventFilter::default()
        }),
        ..follow(0)
    };
    let mut stream = clients.subscribe(request).await.unwrap();
    let first = stream.response().await;
    assert!(first.caught_up && first.events.is_empty(), "{first:?}");
    for round in 0..20 {
        create(&mut clients, round * 10..round * 10 + 10).await;
        let events = stream.take(5).await;
        let ids: Vec<_> = events.into_iter().map(|event| event.aggregate_id).collect();
        let expected: Vec<_> = (0..5)
            .map(|index| format!("o-{}", round * 10 + index * 2 + 1))
            .collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn g6_a_subscriber_resumes_after_any_position_also_after_a_restart() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..5).await;
    let log_id = clients.get_head(GetHeadRequest {}).await.unwrap().log_id;
    server.start_again().await;
    let mut clients = server.clients().await;
    create(&mut clients, 5..10).await;
    for position in 0..=10 {
        let request = SubscribeRequest {
            log_id: log_id.clone(),
            ..events_after(position)
        };
        let expected: Vec<_> = (position + 1..=10).collect();
        assert_eq!(positions(&clients.events(request).await), expected);
    }
}

#[tokio::test]
async fn a_subscription_with_an_impossible_position_log_or_filter_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..1).await;
    let beyond = clients.subscribe(follow(2)).await;
    assert_refused(beyond, Code::OutOfRange, "POSITION_BEYOND_HEAD");
    let other_log = SubscribeRequest {
        log_id: "another".into(),
        ..follow(1)
    };
    let other_log = clients.subscribe(other_log).await;
    assert_refused(other_log, Code::FailedPrecondition, "LOG_MISMATCH");
    let unknown_type = SubscribeRequest {
        filter: Some(EventFilter {
            event_types: vec!["OrderLost".into()],
            ..EventFilter::default()
        }),
        ..follow(0)
    };
    let unknown_type = clients.subscribe(unknown_type).await;
    assert_invalid_fields(unknown_type, &["filter.event_types[0]"]);
    let all_invalid = SubscribeRequest {
        max_batch_size: 10_001,
        log_id: "l".repeat(65),
        filter: Some(EventFilter {
            aggregate_ids: vec!["o 1".into()],
            ..EventFilter::default()
        }),
        ..follow(0)
    };
    let all_invalid = clients.subscribe(all_invalid).await;
    let fields = ["max_batch_size", "log_id", "filter.aggregate_ids[0]"];
    assert_invalid_fields(all_invalid, &fields);
}

#[tokio::test]
async fn g6_g11_a_subscriber_that_does_not_read_delays_nobody_and_gets_every_event_later() {
    // The events exceed all buffers between server and client.
    const ORDERS: usize = 250;
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut stuck = clients.subscribe(follow(0)).await.unwrap();
    for index in 0..ORDERS {
        let large = order::large(&format!("o-{index}"));
        clients.create_order(large).await.unwrap();
    }
    let mut other = server.clients().await;
    assert_eq!(other.events(events_after(0)).await.len(), ORDERS);
    let events = stuck.take(ORDERS).await;
    assert_eq!(positions(&events), (1..=ORDERS as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_events_are_split_into_responses_within_the_default_limit_of_clients() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..60 {
        let large = order::large(&format!("o-{index}"));
        clients.create_order(large).await.unwrap();
    }
    let batches = batches(&mut clients, events_after(0)).await;
    assert!(batches.len() > 1, "one response would exceed 4 MiB");
    assert_eq!(batches.concat().len(), 60);
}

#[tokio::test]
async fn a_stream_ends_after_the_events_it_delivered_when_the_server_shuts_down() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..3).await;
    let mut stream = clients.subscribe(follow(0)).await.unwrap();
    assert_eq!(positions(&stream.take(3).await), [1, 2, 3]);
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(response)) => assert_eq!(response.events, []),
                ended => return ended,
            }
        }
    };
    let ((), ended) = tokio::join!(server.stop(), ended);
    assert_refused(ended, Code::Unavailable, "SHUTTING_DOWN");
}
