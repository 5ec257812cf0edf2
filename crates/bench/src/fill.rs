//! Fills large logs through `ExecuteCommands`.

use contract::orders::v1::{
    CreateOrderRequest, ExecuteCommandsRequest, command_service_client::CommandServiceClient,
    execute_commands_request::Command, execute_commands_response::Result as Told,
};
use uuid::Uuid;
use wire::Connection;

use crate::load;

/// Creates the orders `from..to` over one stream.
pub(crate) async fn orders(commands: &CommandServiceClient<Connection>, from: u64, to: u64) {
    let requests = (from..to).map(|number| ExecuteCommandsRequest {
        command: Some(Command::CreateOrder(CreateOrderRequest {
            request_id: Uuid::now_v7().to_string(),
            ..load::create(number)
        })),
    });
    let mut answers = commands
        .clone()
        .execute_commands(tokio_stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(
            matches!(answer.result, Some(Told::CreateOrder(_))),
            "{answer:?}"
        );
    }
}

/// Waits until all projections have reached the head.
pub(crate) async fn projected(process: &e2e::Process) {
    use contract::orders::v1::GetStatusRequest;
    let mut projections = process.clients().await.projections;
    loop {
        let status = projections.get_status(GetStatusRequest {}).await.unwrap();
        let status = status.into_inner().projections;
        if status.iter().all(|projection| projection.lag_events == 0) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
