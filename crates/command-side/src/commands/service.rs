//! The calls of CommandService: single commands and the stream of commands.

use std::sync::Arc;

use contract::{
    CommandRequest, Raw, Replier,
    encoded::command_service_server::CommandService,
    orders::v1::{
        CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse,
        DeliverOrderRequest, DeliverOrderResponse, ExecuteCommandsRequest, ExecuteCommandsResponse,
        RegisterCustomerRequest, RegisterCustomerResponse, RegisterProductRequest,
        RegisterProductResponse, ShipOrderRequest, ShipOrderResponse,
        execute_commands_response::Result as AnyReply,
    },
};
use telemetry::metrics;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Response, Status, Streaming, metadata::MetadataMap};
use tracing::Instrument as _;
use wire::{Actor, Error, Violations};

use super::{
    Command, Origin,
    decide::Outcome,
    messages::Messages,
    writer::{Job, QUEUE_CAPACITY, Reply, now},
};
use crate::codec::request;

/// Limits the queued commands of all streams together. The other half of the queue is for single
/// calls, because a full queue refuses a single call, while a stream waits.
pub(super) const MAX_QUEUED_BY_STREAMS: usize = QUEUE_CAPACITY / 2;

/// Limits the commands of one stream in flight. Past it, the server stops reading the stream.
pub(super) const MAX_IN_FLIGHT_COMMANDS: usize = 512;

/// Limits the characters of `x-correlation-id` and the bytes of `traceparent`.
pub(super) const MAX_CORRELATION_ID_CHARS: usize = 128;

/// The CommandService of a node: queues commands to the writer and returns its replies.
#[derive(Debug, Clone)]
pub struct Commands {
    jobs: mpsc::Sender<Job>,
    stream_permits: Arc<Semaphore>,
    messages: Messages,
    /// Ends the streams at shutdown.
    stop: CancellationToken,
}

impl Commands {
    /// Returns the number of queued commands.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    pub(crate) fn new(jobs: mpsc::Sender<Job>, stop: CancellationToken) -> Self {
        Self {
            jobs,
            stop,
            stream_permits: Arc::new(Semaphore::new(MAX_QUEUED_BY_STREAMS)),
            messages: Messages::new(),
        }
    }

    /// Executes the command of a single call.
    async fn execute<C: CommandRequest>(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<C::Reply>, Status> {
        let (metadata, extensions, raw) = request.into_parts();
        let bytes = raw.bytes().len();
        let executed = async {
            let origin = origin(&metadata, &extensions)?;
            let checked = move |raw: &Raw| {
                let request = request::decode::<C>(raw, C::MESSAGE)?;
                Command::new(request.into(), &origin, now())
            };
            let command = self.messages.check(raw, checked).await?;
            self.enqueue(command, bytes).await
        };
        let executed = executed.await;
        count(C::NAME, &executed);
        let (Outcome { id, version, .. }, position) = executed?;
        Ok(Response::new(C::reply(id, version.get(), position.get())))
    }

    async fn enqueue(&self, command: Command, bytes: usize) -> Reply {
        let (reply, received) = oneshot::channel();
        let job = Job {
            command,
            bytes,
            reply,
            permit: None,
        };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded("too many commands wait"),
            mpsc::error::TrySendError::Closed(_) => Error::ShuttingDown,
        })?;
        received.await.unwrap_or(Err(Error::ShuttingDown))
    }

    /// Queues the commands of a stream, and sends each one's pending reply to `pending` in the same
    /// order.
    async fn queue_stream(
        self,
        mut commands: Streaming<Raw>,
        origin: Origin,
        pending: mpsc::Sender<Result<Pending, Status>>,
    ) {
        loop {
            let next = tokio::select! {
                // The client no longer reads replies, though it may still send commands.
                () = pending.closed() => return,
                () = self.stop.cancelled() => Err(Error::ShuttingDown.into()),
                next = commands.next() => match next {
                    Some(Ok(command)) => self.queue(command, &origin).await,
                    Some(Err(status)) if wire::is_too_large(&status) => {
                        Err(Error::TooLarge.into())
                    }
                    Some(Err(status)) => Err(status),
                    None => return,
                },
            };
            let ends = next.is_err();
            if pending.send(next).await.is_err() || ends {
                return;
            }
        }
    }

    async fn queue(&self, sent: Raw, origin: &Origin) -> Result<Pending, Status> {
        let (origin, bytes) = (origin.clone(), sent.bytes().len());
        let checked = move |sent: &Raw| {
            let request = request::decode(sent, "ExecuteCommandsRequest")?;
            let ExecuteCommandsRequest { command } = request;
            let command = command.ok_or_else(|| Error::invalid_field("command", "is required"))?;
            let (name, replier) = (command.name(), command.replier());
            let command = Command::new(command, &origin, now());
            let command = command.inspect_err(|error| metrics::command(name, error.reason()))?;
            Ok((name, replier, command))
        };
        let (name, replier, command) = match self.messages.check(sent, checked).await {
            Ok(checked) => checked,
            Err(error) => return Ok(Pending::Rejected(error)),
        };
        // The semaphore is never closed, so that every command gets a permit.
        let permit = Arc::clone(&self.stream_permits).acquire_owned().await.ok();
        let (reply, received) = oneshot::channel();
        let job = Job {
            command,
            bytes,
            reply,
            permit,
        };
        self.jobs.send(job).await.map_err(|_| Error::ShuttingDown)?;
        Ok(Pending::Queued {
            name,
            replier,
            received,
        })
    }
}

/// The pending reply to a command of a stream.
enum Pending {
    Queued {
        name: &'static str,
        replier: Replier<AnyReply>,
        received: oneshot::Receiver<Reply>,
    },
    Rejected(Error),
}

impl Pending {
    async fn response(self) -> ExecuteCommandsResponse {
        let reply = match self {
            Self::Rejected(error) => Err(error),
            Self::Queued {
                name,
                replier,
                received,
            } => {
                let reply = received.await.unwrap_or(Err(Error::ShuttingDown));
                count(name, &reply);
                reply.map(|(Outcome { id, version, .. }, position)| {
                    replier(id, version.get(), position.get())
                })
            }
        };
        let result = reply.unwrap_or_else(|error| AnyReply::Error(error.into()));
        ExecuteCommandsResponse {
            result: Some(result),
        }
    }
}

/// Counts a command and its outcome in the metrics.
fn count(name: &'static str, reply: &Reply) {
    let outcome = reply.as_ref().map_or_else(Error::reason, |_| "OK");
    metrics::command(name, outcome);
}

fn origin(metadata: &MetadataMap, extensions: &Extensions) -> Result<Origin, Error> {
    let text = |key| {
        metadata
            .get(key)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let correlation_id = text("x-correlation-id");
    let mut violations = Violations::default();
    violations.at_most("x-correlation-id", correlation_id, MAX_CORRELATION_ID_CHARS);
    violations.finish()?;
    // Ignores a malformed trace context (W3C Trace Context, section 4.3).
    let traceparent = Some(text("traceparent")).filter(|value| is_traceparent(value));
    let actor = extensions.get().map(|Actor(name)| name.to_string());
    Ok(Origin {
        actor: actor.unwrap_or_default(),
        correlation_id: correlation_id.to_owned(),
        traceparent: traceparent.unwrap_or_default().to_owned(),
    })
}

/// Returns whether a value begins with `<2 hex digits>-<32>-<16>-<2>`. Later versions may add
/// fields (W3C Trace Context).
fn is_traceparent(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut hex = |length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
        })
    };
    value.len() <= MAX_CORRELATION_ID_CHARS && hex(2) && hex(32) && hex(16) && hex(2)
}

#[tonic::async_trait]
impl CommandService for Commands {
    async fn create_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        self.execute::<CreateOrderRequest>(request).await
    }

    async fn ship_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<ShipOrderResponse>, Status> {
        self.execute::<ShipOrderRequest>(request).await
    }

    async fn deliver_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<DeliverOrderResponse>, Status> {
        self.execute::<DeliverOrderRequest>(request).await
    }

    async fn cancel_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        self.execute::<CancelOrderRequest>(request).await
    }

    async fn register_customer(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<RegisterCustomerResponse>, Status> {
        self.execute::<RegisterCustomerRequest>(request).await
    }

    async fn register_product(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<RegisterProductResponse>, Status> {
        self.execute::<RegisterProductRequest>(request).await
    }

    type ExecuteCommandsStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<ExecuteCommandsResponse, Status>> + Send>,
    >;

    async fn execute_commands(
        &self,
        request: Request<Streaming<Raw>>,
    ) -> Result<Response<Self::ExecuteCommandsStream>, Status> {
        let origin = origin(request.metadata(), request.extensions())?;
        let (pending, queued) = mpsc::channel(MAX_IN_FLIGHT_COMMANDS);
        // The task ends when the client has sent all its commands or no longer reads replies, or at
        // shutdown.
        let queueing = self
            .clone()
            .queue_stream(request.into_inner(), origin, pending);
        tokio::spawn(queueing.in_current_span());
        let responses = ReceiverStream::new(queued).then(async |pending| match pending {
            Ok(pending) => Ok(pending.response().await),
            Err(status) => Err(status),
        });
        Ok(Response::new(Box::pin(responses)))
    }
}
