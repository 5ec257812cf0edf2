//! Tests of `EventService` as a subscriber sees it.

use contract::orders::v1::{recorded_event::Payload, *};
use e2e::{Clients, Server};
use test_support::{order, reason};
use tonic::{Code, Streaming};

/// Creates one order per id, for two customers in turn.
async fn create(clients: &mut Clients, ids: std::ops::Range<usize>) {
    for index in ids {
        let customer = if index % 2 == 0 { "even" } else { "odd" };
        let create = order::create(&format!("o-{index}"), customer);
        clients.commands.create_order(create).await.unwrap();
    }
}

fn after(after_position: u64) -> SubscribeRequest {
    SubscribeRequest {
        after_position,
        ..SubscribeRequest::default()
    }
}

fn following(after_position: u64) -> SubscribeRequest {
    SubscribeRequest {
        follow: true,
        ..after(after_position)
    }
}

/// Returns the positions of a stream that ends, grouped by response.
async fn positions(clients: &mut Clients, request: SubscribeRequest) -> Vec<Vec<u64>> {
    let mut stream = clients
        .events
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let mut positions = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        positions.push(response.events.iter().map(|event| event.position).collect());
    }
    positions
}

/// Reads responses until at least `count` events have arrived, and returns the events.
async fn next(stream: &mut Streaming<SubscribeResponse>, count: usize) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let response = stream.message().await.unwrap().unwrap();
        let last = response.events.last().map(|event| event.position);
        assert!(
            last.is_none_or(|last| last <= response.position),
            "{response:?}"
        );
        events.extend(response.events);
    }
    events
}

#[tokio::test]
async fn g3_g6_what_was_and_what_comes_is_delivered_once_and_in_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..10).await;
    let mut stream = clients
        .events
        .subscribe(following(4))
        .await
        .unwrap()
        .into_inner();
    let before = next(&mut stream, 6).await;
    create(&mut clients, 10..20).await;
    let behind = next(&mut stream, 10).await;
    let positions: Vec<_> = before
        .iter()
        .chain(&behind)
        .map(|event| event.position)
        .collect();
    assert_eq!(positions, (5..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_says_all_that_happened() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let occurred_at = Some(wire::convert::timestamp(1_234_567_890_123_456_789));
    let create = CreateOrderRequest {
        occurred_at,
        ..order::create("o", "ann")
    };
    clients.commands.create_order(create.clone()).await.unwrap();
    clients.commands.ship_order(order::ship("o")).await.unwrap();
    let history = GetOrderHistoryRequest {
        order_id: "o".into(),
    };
    let events = clients
        .events
        .get_order_history(history)
        .await
        .unwrap()
        .into_inner()
        .events;
    let [created, shipped] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(
        (created.position, created.version, created.occurred_at),
        (1, 1, occurred_at)
    );
    assert_eq!(created.aggregate_type(), AggregateType::Order);
    assert_eq!(created.request_id, create.request_id);
    assert_eq!(created.event_id.len(), 36);
    assert!(created.recorded_at.is_some());
    let Some(Payload::OrderCreated(payload)) = &created.payload else {
        panic!("{created:?}")
    };
    assert_eq!(payload.total_amount, order::euros(250_000));
    assert_eq!(payload.items.len(), 1);
    assert_eq!(
        (
            shipped.position,
            shipped.version,
            shipped.customer_id.as_str()
        ),
        (2, 2, "ann")
    );
    assert!(matches!(&shipped.payload, Some(Payload::OrderShipped(_))));

    let none = GetOrderHistoryRequest {
        order_id: "none".into(),
    };
    let none = clients.events.get_order_history(none).await.unwrap_err();
    assert_eq!(
        (none.code(), reason(&none)),
        (Code::NotFound, "ORDER_NOT_FOUND".into())
    );
}

#[tokio::test]
async fn without_following_it_ends_at_the_head() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    assert_eq!(positions(&mut clients, after(0)).await.concat(), [0; 0]);
    create(&mut clients, 0..3).await;
    assert_eq!(positions(&mut clients, after(1)).await.concat(), [2, 3]);
    let mut stream = clients
        .events
        .subscribe(after(3))
        .await
        .unwrap()
        .into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (only.position, only.head_position, only.caught_up),
        (3, 3, true)
    );
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_batch_is_not_larger_than_asked() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..7).await;
    let request = SubscribeRequest {
        max_batch_size: 3,
        ..after(0)
    };
    let batches = positions(&mut clients, request).await;
    assert!(batches.iter().all(|batch| batch.len() <= 3), "{batches:?}");
    assert_eq!(batches.concat(), (1..=7).collect::<Vec<_>>());
}

#[tokio::test]
async fn filters_let_through_what_matches_every_list() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..4).await;
    clients
        .commands
        .register_customer(order::customer("even", "Even"))
        .await
        .unwrap();
    clients
        .commands
        .ship_order(order::ship("o-2"))
        .await
        .unwrap();
    let mut of = async |filter: EventFilter| {
        let request = SubscribeRequest {
            filter: Some(filter),
            ..after(0)
        };
        positions(&mut clients, request).await.concat()
    };
    let even = vec!["even".to_owned()];
    assert_eq!(of(EventFilter::default()).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        of(EventFilter {
            customer_ids: even.clone(),
            ..Default::default()
        })
        .await,
        [1, 3, 5, 6]
    );
    let ids = vec!["o-1".to_owned(), "o-2".to_owned()];
    assert_eq!(
        of(EventFilter {
            aggregate_ids: ids,
            ..Default::default()
        })
        .await,
        [2, 3, 6]
    );
    let types = vec![
        AggregateType::Customer.into(),
        AggregateType::Product.into(),
    ];
    assert_eq!(
        of(EventFilter {
            aggregate_types: types,
            ..Default::default()
        })
        .await,
        [5]
    );
    let created = vec!["OrderCreated".to_owned()];
    assert_eq!(
        of(EventFilter {
            event_types: created.clone(),
            ..Default::default()
        })
        .await,
        [1, 2, 3, 4]
    );
    let both = EventFilter {
        event_types: created,
        customer_ids: even,
        ..Default::default()
    };
    assert_eq!(of(both).await, [1, 3]);
}

#[tokio::test]
async fn g6_a_filtered_subscriber_is_woken_by_what_concerns_it_and_told_how_far_it_is() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let filter = Some(EventFilter {
        customer_ids: vec!["odd".into()],
        ..Default::default()
    });
    let request = SubscribeRequest {
        filter,
        ..following(0)
    };
    let mut stream = clients
        .events
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.caught_up && first.events.is_empty(), "{first:?}");
    for round in 0..20 {
        create(&mut clients, round * 10..round * 10 + 10).await;
        let events = next(&mut stream, 5).await;
        let ids: Vec<_> = events
            .iter()
            .map(|event| event.aggregate_id.clone())
            .collect();
        let expected: Vec<_> = (0..5)
            .map(|index| format!("o-{}", round * 10 + index * 2 + 1))
            .collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn g6_resuming_after_any_position_and_a_restart_misses_nothing() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..5).await;
    let head = clients
        .events
        .get_head(GetHeadRequest {})
        .await
        .unwrap()
        .into_inner();
    server.start_again().await;
    let mut clients = server.clients().await;
    create(&mut clients, 5..10).await;
    for position in 0..=10 {
        let request = SubscribeRequest {
            log_id: head.log_id.clone(),
            ..after(position)
        };
        let expected: Vec<_> = (position + 1..=10).collect();
        assert_eq!(positions(&mut clients, request).await.concat(), expected);
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..1).await;
    let beyond = clients.events.subscribe(following(2)).await.unwrap_err();
    assert_eq!(
        (beyond.code(), reason(&beyond)),
        (Code::OutOfRange, "POSITION_BEYOND_HEAD".into())
    );
    let other = SubscribeRequest {
        log_id: "another".into(),
        ..following(1)
    };
    let other = clients.events.subscribe(other).await.unwrap_err();
    assert_eq!(
        (other.code(), reason(&other)),
        (Code::FailedPrecondition, "LOG_MISMATCH".into())
    );
    let unknown = Some(EventFilter {
        event_types: vec!["OrderLost".into()],
        ..Default::default()
    });
    let unknown = SubscribeRequest {
        filter: unknown,
        max_batch_size: 10_001,
        ..following(0)
    };
    let unknown = clients.events.subscribe(unknown).await.unwrap_err();
    assert_eq!(reason(&unknown), "INVALID_FIELD");
}

#[tokio::test]
async fn g6_g11_one_that_does_not_read_holds_up_nobody_and_gets_all_when_it_does() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut stuck = clients
        .events
        .subscribe(following(0))
        .await
        .unwrap()
        .into_inner();
    let wide = |index: usize| CreateOrderRequest {
        items: vec![order::item(&"p".repeat(64)); 1000],
        ..order::create(&format!("o-{index}"), "ann")
    };
    // The events exceed all buffers between server and client.
    const ORDERS: usize = 250;
    for index in 0..ORDERS {
        clients.commands.create_order(wide(index)).await.unwrap();
    }
    let mut quick = server.clients().await;
    assert_eq!(positions(&mut quick, after(0)).await.concat().len(), ORDERS);
    let events = next(&mut stuck, ORDERS).await;
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=ORDERS as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_response_fits_into_what_clients_take_by_default() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    for index in 0..60 {
        let items = vec![order::item(&"p".repeat(64)); 1000];
        let wide = CreateOrderRequest {
            items,
            ..order::create(&format!("o-{index}"), "ann")
        };
        clients.commands.create_order(wide).await.unwrap();
    }
    let batches = positions(&mut clients, after(0)).await;
    assert!(batches.len() > 1, "a response would be larger than 4 MiB");
    assert_eq!(batches.concat().len(), 60);
}

#[tokio::test]
async fn streams_end_with_a_position_to_resume_from_when_the_server_shuts_down() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..3).await;
    let mut stream = clients
        .events
        .subscribe(following(0))
        .await
        .unwrap()
        .into_inner();
    let last = next(&mut stream, 3).await;
    assert_eq!(last[2].position, 3);
    let stopping = server.stop();
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(response)) => assert!(response.events.is_empty()),
                ended => return ended,
            }
        }
    };
    let ((), ended) = tokio::join!(stopping, ended);
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
}
