//! Tests of `CommandService` as a client sees it.

use contract::orders::v1::{
    ExecuteCommandsRequest, execute_commands_request::Command, execute_commands_response::Result, *,
};
use e2e::Server;
use test_support::{order, reason, wrong_fields};
use tokio::task::JoinSet;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

#[tokio::test]
async fn an_order_is_created_shipped_and_delivered() {
    let server = Server::start().await;
    let mut commands = server.clients().await.commands;
    let created = commands
        .create_order(order::create("", "ann"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((created.version, created.position), (1, 1));
    let id = created.order_id;
    assert_eq!(id.len(), 36, "an id was made");
    let shipped = commands
        .ship_order(order::ship(&id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (shipped.order_id.as_str(), shipped.version, shipped.position),
        (&*id, 2, 2)
    );
    let delivered = commands
        .deliver_order(order::deliver(&id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((delivered.version, delivered.position), (3, 3));
    let late = commands.cancel_order(order::cancel(&id)).await.unwrap_err();
    assert_eq!(
        (late.code(), reason(&late)),
        (Code::FailedPrecondition, "ORDER_NOT_CANCELLABLE".into())
    );
}

#[tokio::test]
async fn every_error_says_what_it_is() {
    let server = Server::start().await;
    let mut commands = server.clients().await.commands;
    commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();

    let taken = commands
        .create_order(order::create("o", "ann"))
        .await
        .unwrap_err();
    assert_eq!(
        (taken.code(), reason(&taken)),
        (Code::AlreadyExists, "ORDER_ALREADY_EXISTS".into())
    );
    assert_eq!(
        taken
            .get_error_details()
            .resource_info()
            .unwrap()
            .resource_name,
        "o"
    );

    let unknown = commands.ship_order(order::ship("none")).await.unwrap_err();
    assert_eq!(
        (unknown.code(), reason(&unknown)),
        (Code::NotFound, "ORDER_NOT_FOUND".into())
    );

    let early = commands
        .deliver_order(order::deliver("o"))
        .await
        .unwrap_err();
    assert_eq!(reason(&early), "ORDER_NOT_DELIVERABLE");
    assert!(early.get_error_details().precondition_failure().is_some());

    let stale = CancelOrderRequest {
        expected_version: Some(4),
        ..order::cancel("o")
    };
    let stale = commands.cancel_order(stale).await.unwrap_err();
    assert_eq!(
        (stale.code(), reason(&stale)),
        (Code::Aborted, "VERSION_MISMATCH".into())
    );
    let metadata = stale
        .get_error_details()
        .error_info()
        .unwrap()
        .metadata
        .clone();
    assert_eq!(
        (metadata["expected"].as_str(), metadata["actual"].as_str()),
        ("4", "1")
    );

    commands.cancel_order(order::cancel("o")).await.unwrap();
    let gone = commands.ship_order(order::ship("o")).await.unwrap_err();
    assert_eq!(reason(&gone), "ORDER_NOT_SHIPPABLE");

    let wrong = CreateOrderRequest {
        items: vec![],
        ..order::create("o 2", "")
    };
    let wrong = commands.create_order(wrong).await.unwrap_err();
    assert_eq!(
        (wrong.code(), reason(&wrong)),
        (Code::InvalidArgument, "INVALID_FIELD".into())
    );
    assert_eq!(wrong_fields(&wrong), ["customer_id", "items", "order_id"]);
}

#[tokio::test]
async fn g4_of_many_who_expect_one_version_one_wins() {
    let server = Server::start().await;
    let commands = server.clients().await.commands;
    commands
        .clone()
        .create_order(order::create("o", "ann"))
        .await
        .unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let mut commands = commands.clone();
        let cancel = CancelOrderRequest {
            expected_version: Some(1),
            ..order::cancel("o")
        };
        calls.spawn(async move { commands.cancel_order(cancel).await });
    }
    let answers = calls.join_all().await;
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err());
    let refused: Vec<_> = refused.map(reason).collect();
    assert_eq!(refused, ["VERSION_MISMATCH"; 49]);
}

#[tokio::test]
async fn g5_a_request_id_returns_the_first_reply_for_good() {
    let mut server = Server::start().await;
    let mut commands = server.clients().await.commands;
    let create = order::create("", "ann");
    let first = commands
        .create_order(create.clone())
        .await
        .unwrap()
        .into_inner();
    let again = commands
        .create_order(create.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, first, "even where the server made the id");

    server.start_again().await;
    let mut commands = server.clients().await.commands;
    let after_restart = commands
        .create_order(create.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(after_restart, first);

    let other = CreateOrderRequest {
        customer_id: "bob".into(),
        ..create.clone()
    };
    let other = commands.create_order(other).await.unwrap_err();
    assert_eq!(
        (other.code(), reason(&other)),
        (Code::InvalidArgument, "REQUEST_ID_REUSED".into())
    );
    let ship = ShipOrderRequest {
        request_id: create.request_id,
        ..order::ship(&first.order_id)
    };
    let ship = commands.ship_order(ship).await.unwrap_err();
    assert_eq!(reason(&ship), "REQUEST_ID_REUSED");
    assert_eq!(server.clients().await.head().await, 1);
}

#[tokio::test]
async fn g5_one_request_id_sent_many_times_at_once_has_one_effect() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let create = order::create("", "ann");
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (mut commands, create) = (clients.commands.clone(), create.clone());
        calls.spawn(async move { commands.create_order(create).await.unwrap().into_inner() });
    }
    let replies = calls.join_all().await;
    assert!(
        replies.iter().all(|reply| *reply == replies[0]),
        "{replies:?}"
    );
    assert_eq!(clients.head().await, 1);
}

#[tokio::test]
async fn g2_g3_commands_of_many_clients_get_dense_positions_and_refusals_take_none() {
    let server = Server::start().await;
    let mut calls = JoinSet::new();
    for client in 0..8 {
        let mut commands = server.clients().await.commands;
        calls.spawn(async move {
            let mut positions = Vec::new();
            for index in 0..25 {
                let id = format!("o-{client}-{index}");
                let created = commands
                    .create_order(order::create(&id, "ann"))
                    .await
                    .unwrap();
                positions.push(created.into_inner().position);
                commands
                    .create_order(order::create(&id, "ann"))
                    .await
                    .unwrap_err();
            }
            positions
        });
    }
    let mut positions: Vec<_> = calls.join_all().await.concat();
    positions.sort_unstable();
    assert_eq!(positions, (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn names_are_registered_renamed_or_left_as_they_are() {
    let server = Server::start().await;
    let mut commands = server.clients().await.commands;
    let mut register = async |id: &str, name: &str| {
        let reply = commands
            .register_customer(order::customer(id, name))
            .await
            .unwrap();
        let reply = reply.into_inner();
        (reply.version, reply.position)
    };
    assert_eq!(register("ann", "Ann").await, (1, 1));
    assert_eq!(register("bob", "Bob").await, (1, 2));
    assert_eq!(register("ann", "Ann").await, (1, 1), "nothing happened");
    assert_eq!(register("ann", "Anna").await, (2, 3));
}

#[tokio::test]
async fn a_stream_of_commands_is_answered_in_order_and_a_refusal_refuses_only_its_command() {
    let server = Server::start().await;
    let mut commands = server.clients().await.commands;
    let sent = vec![
        Some(Command::CreateOrder(order::create("o-1", "ann"))),
        Some(Command::ShipOrder(order::ship("none"))),
        None,
        Some(Command::ShipOrder(order::ship("o-1"))),
        Some(Command::CreateOrder(order::create("o 2", "ann"))),
        Some(Command::RegisterProduct(order::product("tea", "Tea"))),
    ];
    let requests: Vec<_> = sent
        .into_iter()
        .map(|command| ExecuteCommandsRequest { command })
        .collect();
    let stream = tokio_stream::iter(requests);
    let mut answers = commands
        .execute_commands(stream)
        .await
        .unwrap()
        .into_inner();
    let mut told = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        told.push(match answer.result.unwrap() {
            Result::Error(status) => format!("{:?}", Code::from(status.code)),
            Result::CreateOrder(reply) => {
                format!("created {} at {}", reply.order_id, reply.position)
            }
            Result::ShipOrder(reply) => format!("shipped {} at {}", reply.order_id, reply.position),
            Result::RegisterProduct(reply) => format!("registered {}", reply.product_id),
            other => format!("{other:?}"),
        });
    }
    let expected = [
        "created o-1 at 1",
        "NotFound",
        "InvalidArgument",
        "shipped o-1 at 2",
        "InvalidArgument",
        "registered tea",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_caused_a_command_is_in_its_events() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let mut create = Request::new(order::create("o", "ann"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    create
        .metadata_mut()
        .insert("x-correlation-id", "import-7".parse().unwrap());
    create
        .metadata_mut()
        .insert("traceparent", trace.parse().unwrap());
    clients.commands.create_order(create).await.unwrap();
    let history = GetOrderHistoryRequest {
        order_id: "o".into(),
    };
    let history = clients
        .events
        .get_order_history(history)
        .await
        .unwrap()
        .into_inner();
    let event = &history.events[0];
    assert_eq!(
        (event.correlation_id.as_str(), event.traceparent.as_str()),
        ("import-7", trace)
    );
}

#[tokio::test]
async fn g5_a_call_that_is_given_up_can_be_made_again() {
    let server = Server::start().await;
    let clients = server.clients().await;
    let creates: Vec<_> = (0..100)
        .map(|index| order::create(&format!("o-{index}"), "ann"))
        .collect();
    let mut calls = JoinSet::new();
    for create in creates.clone() {
        let mut commands = clients.commands.clone();
        calls.spawn(async move {
            // The client gives up 1 ms after it sends the command.
            let call = commands.create_order(create);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(1), call).await;
        });
    }
    calls.join_all().await;
    // A retry with the same request id takes effect once, whatever the outcome of the first call.
    for create in creates {
        clients.commands.clone().create_order(create).await.unwrap();
    }
    assert_eq!(clients.clone().head().await, 100);
}

#[tokio::test]
async fn a_stream_of_commands_ends_when_the_server_shuts_down() {
    let mut server = Server::start().await;
    let mut clients = server.clients().await;
    let (commands, sent) = tokio::sync::mpsc::channel(1);
    let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
    let command = Command::CreateOrder(order::create("o-1", "ann"));
    let command = ExecuteCommandsRequest {
        command: Some(command),
    };
    commands.send(command).await.unwrap();
    let answers = clients.commands.execute_commands(sent).await.unwrap();
    let mut answers = answers.into_inner();
    assert!(answers.message().await.unwrap().is_some());
    // The client keeps its stream open.
    let ((), ended) = tokio::join!(server.stop(), answers.message());
    assert_eq!(reason(&ended.unwrap_err()), "SHUTTING_DOWN");
    drop(commands);
}
