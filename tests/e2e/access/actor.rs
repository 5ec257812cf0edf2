//! Tests of the actor that events carry.

use contract::orders::v1::*;
use serde_json::{Value, json};
use test_support::{Issuer, order};

use super::{connect, jwt::but, start};

#[tokio::test(flavor = "multi_thread")]
async fn events_carry_the_subject_that_sent_their_command() {
    let issuer = Issuer::new("key-1");
    let (server, _folder) = start(&issuer.keys()).await;
    let roles = ["command", "query"];
    let named = |subject: Value| issuer.sign(&but(Issuer::claims(&roles, 600), "sub", subject));
    let subjects = [
        (json!("shop@example.org"), "shop@example.org"),
        (json!("line\nbreak"), ""),
        (json!("s".repeat(129)), ""),
        (Value::Null, ""),
    ];
    for (index, (subject, actor)) in subjects.into_iter().enumerate() {
        let mut clients = connect(&server, &named(subject)).await;
        let id = format!("o-{index}");
        clients
            .create_order(order::create(&id, "ann"))
            .await
            .unwrap();
        let ship = ExecuteCommandsRequest {
            command: Some(execute_commands_request::Command::CancelOrder(
                CancelOrderRequest {
                    order_id: id.clone(),
                    reason: "late".to_owned(),
                    ..CancelOrderRequest::default()
                },
            )),
        };
        let replies = clients
            .commands
            .execute_commands(tokio_stream::iter([ship]));
        let mut replies = replies.await.unwrap().into_inner();
        while replies.message().await.unwrap().is_some() {}
        let history = GetOrderHistoryRequest { order_id: id };
        let history = clients.events.get_order_history(history).await.unwrap();
        let events = history.into_inner().events;
        let actors: Vec<_> = events.iter().map(|event| &event.actor).collect();
        assert_eq!(actors, [actor, actor]);
    }
}
