//! Tests of the parser of lines, and of the import against a fake server.

use std::io::Cursor;

use contract::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse,
    DeliverOrderRequest, DeliverOrderResponse, ExecuteCommandsRequest, ExecuteCommandsResponse,
    RegisterCustomerRequest, RegisterCustomerResponse, RegisterProductRequest,
    RegisterProductResponse, ShipOrderRequest, ShipOrderResponse,
    command_service_server::{CommandService, CommandServiceServer},
    execute_commands_request::Command,
    execute_commands_response::Result as Answer,
};
use futures_util::{StreamExt as _, stream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::Router},
};
use wire::{Connection, Error, Resource};

use super::*;
use crate::cli::tests::{Answers, Shared, serve, serve_breaking};

fn lines(text: impl Into<Vec<u8>>) -> Vec<Line> {
    let descriptor = json::descriptor("ExecuteCommandsRequest").unwrap();
    Lines::new(Cursor::new(text.into()), descriptor)
        .map(Result::unwrap)
        .collect()
}

fn product(id: &str) -> String {
    format!(r#"{{"registerProduct": {{"productId": "{id}", "name": "Chai"}}}}"#)
}

fn request_id(line: &Line) -> String {
    match line.command.clone().unwrap().command.unwrap() {
        Command::RegisterProduct(request) => request.request_id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_becomes_its_message() {
    let text = r#"{"shipOrder": {"requestId": "r", "orderId": "o", "shippingAddress": "Bólido",
        "tracking_number": "t", "expectedVersion": "3", "occurredAt": "1996-07-10T00:00:00Z"}}"#
        .replace('\n', " ");
    let expected = ExecuteCommandsRequest {
        command: Some(Command::ShipOrder(ShipOrderRequest {
            request_id: "r".into(),
            order_id: "o".into(),
            shipping_address: "Bólido".into(),
            tracking_number: "t".into(),
            expected_version: Some(3),
            occurred_at: Some(prost_types::Timestamp {
                seconds: 836_956_800,
                nanos: 0,
            }),
        })),
    };
    let line = Line {
        number: 3,
        end: text.len() as u64 + 5,
        command: Ok(expected),
    };
    assert_eq!(
        lines(format!("\n \r\n{text}\r\n")),
        [Line {
            end: line.end + 1,
            ..line
        }]
    );
}

#[test]
fn each_line_that_is_no_command_has_a_reason() {
    let text = format!(
        "{{\n[]\n{{}}\n{{\"shipOrdr\": {{}}}}\n{} x\n{{\"createOrder\": {{\"orderId\": 1}}}}\n\
         {{\"createOrder\": {{}}, \"shipOrder\": {{}}}}\n{}",
        product("P1"),
        product("P2")
    );
    let lines = lines(text);
    let reasons: Vec<_> = lines
        .iter()
        .filter_map(|line| Some((line.number, line.command.as_ref().err()?.as_str())))
        .collect();
    assert_eq!(
        reasons,
        [
            (1, "EOF while parsing an object (column 1)"),
            (2, "invalid type: sequence, expected a map (column 0)"),
            (3, "it names no command"),
            (4, "unrecognized field name 'shipOrdr' (column 11)"),
            (5, "trailing characters (column 58)"),
            (
                6,
                "invalid type: integer `1`, expected a string (column 29)"
            ),
            (
                7,
                "multiple fields provided for oneof 'command' (column 36)"
            ),
        ]
    );
    assert_eq!(lines.len(), 8);
}

#[test]
fn the_reason_of_an_invalid_line_has_no_control_characters() {
    let lines = lines(r#"{"a\u001b[2J\nb": {}}"#);
    let expected = r"unrecognized field name 'a\u{1b}[2J\u{a}b' (column 16)";
    assert_eq!(lines[0].command, Err(expected.to_owned()));
}

#[test]
fn a_line_of_more_than_4_mib_is_skipped() {
    let text = format!("\"{}\"\n{}", "x".repeat(5 << 20), product("P1"));
    let length = text.len() as u64;
    let lines = lines(text);
    assert_eq!(
        lines[0].command,
        Err("it is longer than 4194304 bytes".into())
    );
    assert_eq!((lines[1].number, lines[1].end), (2, length));
    assert!(lines[1].command.is_ok());
}

#[test]
fn a_command_without_a_request_id_gets_the_same_id_in_each_import() {
    let text = format!("{0}\n{0}\n{1}", product("P1"), product("P2"));
    let ids: Vec<_> = lines(text.clone()).iter().map(request_id).collect();
    let longer = format!("{}\r\n{}", text.replace('\n', "\r\n"), product("P3"));
    let again: Vec<_> = lines(longer).iter().map(request_id).collect();
    assert_eq!(ids, again[..3], "the same lines, with one more behind them");
    assert_eq!(ids[0].len(), "line-".len() + 12 + "-".len() + 32);
    assert_ne!(ids[0], ids[1], "the same text on another line");
    assert!(ids.is_sorted());
}

/// The commands that the fake received, and the failure that it simulates.
#[derive(Debug, Default)]
struct State {
    /// Product ids in order of arrival, with repetitions.
    received: Vec<String>,
    /// Product ids that took effect.
    executed: Vec<String>,
    /// Breaks the stream once, after this number of answers.
    break_after: Option<usize>,
    /// Breaks every stream immediately.
    broken: bool,
    /// Answers the first command for this product with `OVERLOADED`.
    overloaded: Option<String>,
}

struct Fake(Shared<State>);

impl State {
    fn execute(&mut self, command: ExecuteCommandsRequest) -> ExecuteCommandsResponse {
        let Some(Command::RegisterProduct(request)) = command.command else {
            panic!("{command:?}");
        };
        let id = request.product_id;
        self.received.push(id.clone());
        let result = if self.overloaded.take_if(|busy| *busy == id).is_some() {
            Answer::Error(Error::Overloaded("too much").into())
        } else if id == "refused" {
            Answer::Error(Error::NotFound(Resource::Order, id).into())
        } else {
            if !self.executed.contains(&id) {
                self.executed.push(id.clone());
            }
            let position = self.executed.iter().position(|done| *done == id).unwrap() + 1;
            Answer::RegisterProduct(RegisterProductResponse {
                product_id: id,
                version: 1,
                position: position as u64,
            })
        };
        ExecuteCommandsResponse {
            result: Some(result),
        }
    }
}

#[tonic::async_trait]
impl CommandService for Fake {
    type ExecuteCommandsStream = Answers<ExecuteCommandsResponse>;

    async fn execute_commands(
        &self,
        request: Request<Streaming<ExecuteCommandsRequest>>,
    ) -> Result<Response<Self::ExecuteCommandsStream>, Status> {
        let state = self.0.share();
        let answers = request
            .into_inner()
            .map(move |command| command.map(|command| state.get().execute(command)));
        let broken = || stream::iter([Err(Status::unavailable("gone"))]);
        let mut state = self.0.get();
        Ok(Response::new(match state.break_after.take() {
            Some(count) => Box::pin(answers.take(count).chain(broken())),
            None if state.broken => Box::pin(broken()),
            None => Box::pin(answers),
        }))
    }

    async fn create_order(
        &self,
        _: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn ship_order(
        &self,
        _: Request<ShipOrderRequest>,
    ) -> Result<Response<ShipOrderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn deliver_order(
        &self,
        _: Request<DeliverOrderRequest>,
    ) -> Result<Response<DeliverOrderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_order(
        &self,
        _: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_customer(
        &self,
        _: Request<RegisterCustomerRequest>,
    ) -> Result<Response<RegisterCustomerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_product(
        &self,
        _: Request<RegisterProductRequest>,
    ) -> Result<Response<RegisterProductResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn server(state: &Shared<State>) -> Router {
    Server::builder().add_service(CommandServiceServer::new(Fake(state.share())))
}

/// Imports a text. Returns the outcome and the lines that the import reported.
async fn import(
    channel: Connection,
    text: String,
    patience: Duration,
) -> (Result<Summary, Failure>, Vec<String>) {
    let (_reader, lines) = read(Cursor::new(text)).unwrap();
    let reports = Shared::new(Vec::new());
    let report = |line| reports.get().push(line);
    let bar = ProgressBar::hidden();
    let client = CommandServiceClient::new(channel);
    let outcome = Stream::new(client, lines, &report, &bar)
        .run(patience)
        .await;
    let reports = reports.get().clone();
    (outcome, reports)
}

fn products(ids: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    ids.into_iter()
        .map(|id| product(id.as_ref()) + "\n")
        .collect()
}

#[tokio::test]
async fn refused_and_invalid_lines_are_reported_by_number_and_the_others_are_imported() {
    let state = Shared::default();
    let text = products(["P1", "refused"]) + "nonsense\n\n" + &products(["P2"]);
    let (outcome, mut reports) = import(serve(server(&state)).await, text, PATIENCE).await;
    let summary = outcome.unwrap();
    assert_eq!(
        summary.text(),
        "4 commands: 2 accepted, 1 refused, 1 invalid"
    );
    assert_eq!(summary.position, 2);
    reports.sort();
    assert_eq!(
        reports,
        [
            "line 2: there is no order refused (ORDER_NOT_FOUND)",
            "line 3: expected ident (column 2)",
        ]
    );
    assert_eq!(state.get().executed, ["P1", "P2"]);
}

#[tokio::test]
async fn a_broken_stream_is_resumed_without_loss() {
    let state = Shared::new(State {
        break_after: Some(1_500),
        ..State::default()
    });
    let ids: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    let (outcome, reports) = import(serve(server(&state)).await, products(&ids), PATIENCE).await;
    let summary = outcome.unwrap();
    assert_eq!(summary.text(), "5000 commands: 5000 accepted, 0 refused");
    assert_eq!(summary.position, 5_000);
    assert_eq!(reports, ["gone: trying again"]);
    assert_eq!(state.get().executed, ids, "each once, in order");
}

#[tokio::test]
async fn a_broken_connection_is_restored_without_loss() {
    let state = Shared::default();
    let ids: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
    let channel = serve_breaking(server(&state), 20_000).await;
    let (outcome, reports) = import(channel, products(&ids), PATIENCE).await;
    assert_eq!(
        outcome.unwrap().text(),
        "5000 commands: 5000 accepted, 0 refused"
    );
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].ends_with(": trying again"), "{reports:?}");
    assert_eq!(state.get().executed, ids, "each once, in order");
}

#[tokio::test]
async fn an_overloaded_server_gets_that_command_and_the_later_ones_again() {
    let state = Shared::new(State {
        overloaded: Some("P2".into()),
        ..State::default()
    });
    let (outcome, reports) = import(
        serve(server(&state)).await,
        products(["P1", "P2", "P3"]),
        PATIENCE,
    )
    .await;
    assert_eq!(outcome.unwrap().text(), "3 commands: 3 accepted, 0 refused");
    assert_eq!(reports, ["too much: try again later: trying again"]);
    let received = state.get().received.clone();
    assert_eq!(received[received.len() - 2..], ["P2", "P3"]);
}

#[tokio::test]
async fn an_import_without_an_answer_ends_with_the_known_and_unknown_lines() {
    let state = Shared::new(State {
        break_after: Some(2),
        broken: true,
        ..State::default()
    });
    let (outcome, _) = import(
        serve(server(&state)).await,
        products(["P1", "P2", "P3"]),
        Duration::ZERO,
    )
    .await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "no answer for 0 s: gone; 3 commands: 2 accepted, 0 refused so far; \
         from line 3 on nothing is known; importing the file again is harmless"
    );
}
