//! Tests of `CommandService` as a client sees it.

use contract::orders::v1::{
    ExecuteCommandsRequest, execute_commands_request::Command, execute_commands_response::Result, *,
};
use e2e::Server;
use test_support::{assert_invalid_fields, assert_refused, order, reason};
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

#[tokio::test]
async fn an_order_is_created_shipped_and_delivered() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let created = clients.create_order(order::create("", "ann")).await;
    let created = created.unwrap();
    assert_eq!((created.version, created.position), (1, 1));
    let id = created.order_id;
    assert_eq!(id.len(), 36, "the server makes the id");
    let shipped = clients.ship_order(order::ship(&id)).await.unwrap();
    assert_eq!(shipped.order_id, id);
    assert_eq!((shipped.version, shipped.position), (2, 2));
    let delivered = clients.deliver_order(order::deliver(&id)).await.unwrap();
    assert_eq!((delivered.version, delivered.position), (3, 3));
    let late = clients.cancel_order(order::cancel(&id)).await;
    assert_refused(late, Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE");
}

#[tokio::test]
async fn a_refused_command_gets_an_error_with_the_reason_and_its_details() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o").await;

    let taken = clients.create_order(order::create("o", "ann")).await;
    let taken = assert_refused(taken, Code::AlreadyExists, "ORDER_ALREADY_EXISTS");
    let resource = taken.get_details_resource_info().unwrap();
    assert_eq!(resource.resource_name, "o");

    let unknown = clients.ship_order(order::ship("none")).await;
    assert_refused(unknown, Code::NotFound, "ORDER_NOT_FOUND");

    let early = clients.deliver_order(order::deliver("o")).await;
    let early = assert_refused(early, Code::FailedPrecondition, "ORDER_NOT_DELIVERABLE");
    assert!(early.get_details_precondition_failure().is_some());

    let stale = CancelOrderRequest {
        expected_version: Some(4),
        ..order::cancel("o")
    };
    let stale = clients.cancel_order(stale).await;
    let stale = assert_refused(stale, Code::Aborted, "VERSION_MISMATCH");
    let metadata = stale.get_details_error_info().unwrap().metadata;
    assert_eq!(
        (metadata["expected"].as_str(), metadata["actual"].as_str()),
        ("4", "1")
    );

    clients.cancel_order(order::cancel("o")).await.unwrap();
    let cancelled = clients.ship_order(order::ship("o")).await;
    assert_refused(cancelled, Code::FailedPrecondition, "ORDER_NOT_SHIPPABLE");
}

#[tokio::test]
async fn all_invalid_fields_are_named_at_once() {
    let server = Server::start().await;
    let invalid = CreateOrderRequest {
        items: vec![],
        ..order::create("o 2", "")
    };
    let refused = server.clients().await.create_order(invalid).await;
    assert_invalid_fields(refused, &["customer_id", "items", "order_id"]);
}

#[tokio::test]
async fn g4_one_of_many_commands_that_expect_one_version_succeeds() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    clients.create("o").await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let mut clients = clients.clone();
        let cancel = CancelOrderRequest {
            expected_version: Some(1),
            ..order::cancel("o")
        };
        calls.spawn(async move { clients.cancel_order(cancel).await });
    }
    let answers = calls.join_all().await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let refused: Vec<_> = refused.map(reason).collect();
    assert_eq!(refused, ["VERSION_MISMATCH"; 49]);
}

#[tokio::test]
async fn g4_an_old_rename_that_is_sent_again_does_not_win() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let ann = |name, expected_version| RegisterCustomerRequest {
        expected_version: Some(expected_version),
        ..order::customer("ann", name)
    };
    let absent = clients.register_customer(ann("Ann", 1)).await;
    assert_refused(absent, Code::Aborted, "VERSION_MISMATCH");
    for (name, version) in [("Ann", 0), ("Anna", 1), ("Anne", 2)] {
        let renamed = clients.register_customer(ann(name, version)).await;
        assert_eq!(renamed.unwrap().version, version + 1);
    }
    let old = clients.register_customer(ann("Anna", 1)).await;
    let old = assert_refused(old, Code::Aborted, "VERSION_MISMATCH");
    let metadata = old.get_details_error_info().unwrap().metadata;
    assert_eq!(
        (metadata["expected"].as_str(), metadata["actual"].as_str()),
        ("1", "3")
    );
    let tea = RegisterProductRequest {
        expected_version: Some(0),
        ..order::product("tea", "Tea")
    };
    clients.register_product(tea.clone()).await.unwrap();
    let again = clients.register_product(tea).await;
    assert_refused(again, Code::Aborted, "VERSION_MISMATCH");
}

#[tokio::test]
async fn g5_a_repeated_request_id_returns_the_first_reply_also_after_a_restart() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let create = order::create("", "ann");
    let first = clients.create_order(create.clone()).await.unwrap();
    let repeated = clients.create_order(create.clone()).await.unwrap();
    assert_eq!(repeated, first, "also the id that the server made");

    server.start_again().await;
    let mut clients = server.clients().await;
    let repeated = clients.create_order(create.clone()).await.unwrap();
    assert_eq!(repeated, first);

    let other_content = CreateOrderRequest {
        customer_id: "bob".into(),
        ..create.clone()
    };
    let refused = clients.create_order(other_content).await;
    let refused = assert_refused(refused, Code::InvalidArgument, "REQUEST_ID_REUSED");
    let recorded = refused.get_details_error_info().unwrap().metadata;
    assert_eq!(
        ["id", "version", "position"].map(|key| recorded[key].as_str()),
        [first.order_id.as_str(), "1", "1"],
        "the client learns the outcome"
    );
    let other_command = ShipOrderRequest {
        request_id: create.request_id,
        ..order::ship(&first.order_id)
    };
    let refused = clients.ship_order(other_command).await;
    assert_refused(refused, Code::InvalidArgument, "REQUEST_ID_REUSED");
    assert_eq!(clients.head().await, 1);
}

#[tokio::test]
async fn g5_a_request_id_sent_many_times_at_once_takes_effect_once() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let create = order::create("", "ann");
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (mut clients, create) = (clients.clone(), create.clone());
        calls.spawn(async move { clients.create_order(create).await.unwrap() });
    }
    let replies = calls.join_all().await;
    assert!(
        replies.iter().all(|reply| *reply == replies[0]),
        "{replies:?}"
    );
    assert_eq!(clients.head().await, 1);
}

#[tokio::test]
async fn g2_g3_positions_are_dense_with_many_clients_and_refused_commands_take_none() {
    let server = Server::start().await;
    let mut calls = JoinSet::new();
    for client in 0..8 {
        let mut clients = server.clients().await;
        calls.spawn(async move {
            let mut positions = Vec::new();
            for index in 0..25 {
                let id = format!("o-{client}-{index}");
                positions.push(clients.create(&id).await);
                let taken = clients.create_order(order::create(&id, "ann")).await;
                taken.unwrap_err();
            }
            positions
        });
    }
    let mut positions: Vec<_> = calls.join_all().await.concat();
    positions.sort_unstable();
    assert_eq!(positions, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn registering_an_unchanged_name_appends_no_event() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut register = async |id: &str, name: &str| {
        let registered = clients.register_customer(order::customer(id, name)).await;
        let registered = registered.unwrap();
        (registered.version, registered.position)
    };
    assert_eq!(register("ann", "Ann").await, (1, 1));
    assert_eq!(register("bob", "Bob").await, (1, 2));
    assert_eq!(register("ann", "Ann").await, (1, 1));
    assert_eq!(register("ann", "Anna").await, (2, 3));
}

/// Formats an answer of a stream of commands.
fn answer(response: ExecuteCommandsResponse) -> String {
    match response.result.unwrap() {
        Result::Error(status) => format!("{:?}", Code::from(status.code)),
        Result::CreateOrder(reply) => format!("created {} at {}", reply.order_id, reply.position),
        Result::ShipOrder(reply) => format!("shipped {} at {}", reply.order_id, reply.position),
        Result::RegisterProduct(reply) => format!("registered {}", reply.product_id),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_answers_its_commands_in_order_and_continues_after_a_refused_one() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let commands = [
        Some(Command::CreateOrder(order::create("o-1", "ann"))),
        Some(Command::ShipOrder(order::ship("none"))),
        None,
        Some(Command::ShipOrder(order::ship("o-1"))),
        Some(Command::CreateOrder(order::create("o 2", "ann"))),
        Some(Command::RegisterProduct(order::product("tea", "Tea"))),
    ]
    .map(|command| ExecuteCommandsRequest { command });
    let stream = tokio_stream::iter(commands);
    let stream = clients.commands.execute_commands(stream).await;
    let mut stream = stream.unwrap().into_inner();
    let mut answers = Vec::new();
    while let Some(response) = stream.message().await.unwrap() {
        answers.push(answer(response));
    }
    let expected = [
        "created o-1 at 1",
        "NotFound",
        "InvalidArgument",
        "shipped o-1 at 2",
        "InvalidArgument",
        "registered tea",
    ];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn an_event_carries_the_correlation_id_and_trace_of_its_command() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut create = Request::new(order::create("o", "ann"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata = create.metadata_mut();
    metadata.insert("x-correlation-id", "import-7".parse().unwrap());
    metadata.insert("traceparent", trace.parse().unwrap());
    clients.create_order(create).await.unwrap();
    let event = &clients.order_history("o").await.unwrap()[0];
    assert_eq!(
        (event.correlation_id.as_str(), event.traceparent.as_str()),
        ("import-7", trace)
    );
}

#[tokio::test]
async fn g5_a_cancelled_call_can_be_retried() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let creates: Vec<_> = (0..100)
        .map(|index| order::create(&format!("o-{index}"), "ann"))
        .collect();
    let mut calls = JoinSet::new();
    for create in creates.clone() {
        let mut clients = clients.clone();
        calls.spawn(async move {
            // The client gives up 1 ms after it sends the command.
            let call = clients.create_order(create);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), call).await;
        });
    }
    calls.join_all().await;
    // A retry with the same request id takes effect once, whatever the outcome of the first call.
    for create in creates {
        clients.create_order(create).await.unwrap();
    }
    assert_eq!(clients.head().await, 100);
}

#[tokio::test]
async fn a_stream_of_commands_ends_when_the_server_shuts_down() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let (commands, sent) = tokio::sync::mpsc::channel(1);
    let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
    let command = Some(Command::CreateOrder(order::create("o-1", "ann")));
    commands
        .send(ExecuteCommandsRequest { command })
        .await
        .unwrap();
    let answers = clients.commands.execute_commands(sent).await.unwrap();
    let mut answers = answers.into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // The client keeps its stream open.
    let ((), ended) = tokio::join!(server.stop(), answers.message());
    assert_refused(ended, Code::Unavailable, "SHUTTING_DOWN");
    drop(commands);
}
