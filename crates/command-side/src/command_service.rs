use std::sync::Arc;

use contract::{
    Raw,
    encoded::command_service_server::CommandService,
    orders::v1::{
        CancelOrderResponse, CreateOrderResponse, DeliverOrderResponse, ExecuteCommandsRequest,
        ExecuteCommandsResponse, RegisterCustomerResponse, RegisterProductResponse,
        ShipOrderResponse, execute_commands_request::Command as Sent,
        execute_commands_response::Result as Told,
    },
};
use telemetry::metrics;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};
use wire::{Error, Violations};

use crate::{
    command::{Command, Origin},
    received,
    writer::{Answer, Job, QUEUE, now},
};

/// Commands of all streams together that wait at most: the other half of the queue is for single
/// calls, which are refused when it is full, while a stream just waits.
const ON_STREAMS: usize = QUEUE / 2;

/// Commands of one stream in flight.
const ON_A_STREAM: usize = 512;

/// Characters in a correlation id.
const CORRELATION_ID: usize = 128;

/// Hands commands to the writer, and its answers back.
#[derive(Debug, Clone)]
pub struct Commands {
    jobs: mpsc::Sender<Job>,
    on_streams: Arc<Semaphore>,
    /// Ends the streams.
    stop: CancellationToken,
}

impl Commands {
    /// Commands that wait to be decided now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }

    pub(crate) fn new(jobs: mpsc::Sender<Job>, stop: CancellationToken) -> Self {
        Self {
            jobs,
            stop,
            on_streams: Arc::new(Semaphore::new(ON_STREAMS)),
        }
    }

    async fn execute(&self, sent: Sent, metadata: &MetadataMap) -> Result<Told, Error> {
        let kind = Kind::of(&sent);
        let command = Command::new(sent, &origin(metadata)?, now())?;
        let (answer, answered) = oneshot::channel();
        let job = Job {
            command,
            answer,
            permit: None,
        };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded("too many commands wait"),
            mpsc::error::TrySendError::Closed(_) => Error::ShuttingDown,
        })?;
        kind.told(answered.await.unwrap_or(Err(Error::ShuttingDown)))
    }

    /// Takes commands off a stream, and puts where their answers will be on another.
    async fn take(
        self,
        mut commands: Streaming<Raw>,
        origin: Origin,
        pending: mpsc::Sender<Result<Pending, Status>>,
    ) {
        loop {
            let next = tokio::select! {
                // Nobody hears answers any more, though more commands could come.
                () = pending.closed() => return,
                () = self.stop.cancelled() => Err(Error::ShuttingDown.into()),
                next = commands.next() => match next {
                    Some(Ok(command)) => self.start(&command, &origin).await,
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

    async fn start(&self, sent: &Raw, origin: &Origin) -> Result<Pending, Status> {
        let checked = match received::decode(sent, "ExecuteCommandsRequest") {
            Err(error) => return Ok(Pending::Refused(error)),
            Ok(ExecuteCommandsRequest { command: None }) => {
                let mut violations = Violations::default();
                violations.add("command", "is required");
                // There is one violation: this is its error.
                return Ok(Pending::Refused(
                    violations.finish().err().unwrap_or(Error::Internal),
                ));
            }
            Ok(ExecuteCommandsRequest {
                command: Some(sent),
            }) => (Kind::of(&sent), Command::new(sent, origin, now())),
        };
        let (kind, command) = match checked {
            (kind, Ok(command)) => (kind, command),
            (kind, Err(error)) => {
                kind.count(Err(&error));
                return Ok(Pending::Refused(error));
            }
        };
        // Neither closes before the writer ends.
        let permit = Arc::clone(&self.on_streams).acquire_owned().await.ok();
        let (answer, answered) = oneshot::channel();
        let job = Job {
            command,
            answer,
            permit,
        };
        self.jobs.send(job).await.map_err(|_| Error::ShuttingDown)?;
        Ok(Pending::Answer(kind, answered))
    }
}

/// A command of a stream, until it is answered.
enum Pending {
    Answer(Kind, oneshot::Receiver<Answer>),
    Refused(Error),
}

impl Pending {
    async fn told(self) -> ExecuteCommandsResponse {
        let told = match self {
            Self::Refused(error) => Err(error),
            Self::Answer(kind, answered) => {
                let told = kind.told(answered.await.unwrap_or(Err(Error::ShuttingDown)));
                kind.count(told.as_ref());
                told
            }
        };
        let result = told.unwrap_or_else(|error| Told::Error(error.into()));
        ExecuteCommandsResponse {
            result: Some(result),
        }
    }
}

/// Which command it is, and so how it is answered.
#[derive(Debug, Clone, Copy)]
enum Kind {
    CreateOrder,
    ShipOrder,
    DeliverOrder,
    CancelOrder,
    RegisterCustomer,
    RegisterProduct,
}

impl Kind {
    fn of(sent: &Sent) -> Self {
        match sent {
            Sent::CreateOrder(_) => Self::CreateOrder,
            Sent::ShipOrder(_) => Self::ShipOrder,
            Sent::DeliverOrder(_) => Self::DeliverOrder,
            Sent::CancelOrder(_) => Self::CancelOrder,
            Sent::RegisterCustomer(_) => Self::RegisterCustomer,
            Sent::RegisterProduct(_) => Self::RegisterProduct,
        }
    }

    /// Counts what became of one.
    fn count(self, told: Result<&Told, &Error>) {
        let name = match self {
            Self::CreateOrder => "CreateOrder",
            Self::ShipOrder => "ShipOrder",
            Self::DeliverOrder => "DeliverOrder",
            Self::CancelOrder => "CancelOrder",
            Self::RegisterCustomer => "RegisterCustomer",
            Self::RegisterProduct => "RegisterProduct",
        };
        metrics::command(name, told.map_or_else(Error::reason, |_| "OK"));
    }

    fn told(self, answer: Answer) -> Result<Told, Error> {
        let (outcome, position) = answer?;
        let (id, version) = (outcome.id, outcome.version);
        Ok(match self {
            Self::CreateOrder => Told::CreateOrder(CreateOrderResponse {
                order_id: id,
                version,
                position,
            }),
            Self::ShipOrder => Told::ShipOrder(ShipOrderResponse {
                order_id: id,
                version,
                position,
            }),
            Self::DeliverOrder => Told::DeliverOrder(DeliverOrderResponse {
                order_id: id,
                version,
                position,
            }),
            Self::CancelOrder => Told::CancelOrder(CancelOrderResponse {
                order_id: id,
                version,
                position,
            }),
            Self::RegisterCustomer => Told::RegisterCustomer(RegisterCustomerResponse {
                customer_id: id,
                version,
                position,
            }),
            Self::RegisterProduct => Told::RegisterProduct(RegisterProductResponse {
                product_id: id,
                version,
                position,
            }),
        })
    }
}

fn origin(metadata: &MetadataMap) -> Result<Origin, Error> {
    let text = |key| {
        metadata
            .get(key)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let correlation_id = text("x-correlation-id");
    let mut violations = Violations::default();
    violations.at_most("x-correlation-id", correlation_id, CORRELATION_ID);
    violations.finish()?;
    // A trace context that is not one is to be ignored (W3C Trace Context, section 4.3).
    let traceparent = Some(text("traceparent")).filter(|value| is_traceparent(value));
    Ok(Origin {
        correlation_id: correlation_id.to_owned(),
        traceparent: traceparent.unwrap_or_default().to_owned(),
    })
}

/// `00-<32 hex digits>-<16>-<2>`, or a later version that begins like it.
fn is_traceparent(value: &str) -> bool {
    let mut parts = value.split('-');
    let mut hex = |length| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
        })
    };
    value.len() <= CORRELATION_ID && hex(2) && hex(32) && hex(16) && hex(2)
}

/// A unary command: its request goes into the `oneof`, its reply comes out of the other.
macro_rules! unary {
    ($self:ident, $request:ident, $kind:ident) => {{
        let (metadata, _, raw) = $request.into_parts();
        let told = match received::decode(&raw, concat!(stringify!($kind), "Request")) {
            Ok(request) => $self.execute(Sent::$kind(request), &metadata).await,
            Err(error) => Err(error),
        };
        Kind::$kind.count(told.as_ref());
        match told? {
            Told::$kind(response) => Ok(Response::new(response)),
            _ => Err(Error::Internal.into()),
        }
    }};
}

#[tonic::async_trait]
impl CommandService for Commands {
    async fn create_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        unary!(self, request, CreateOrder)
    }

    async fn ship_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<ShipOrderResponse>, Status> {
        unary!(self, request, ShipOrder)
    }

    async fn deliver_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<DeliverOrderResponse>, Status> {
        unary!(self, request, DeliverOrder)
    }

    async fn cancel_order(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        unary!(self, request, CancelOrder)
    }

    async fn register_customer(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<RegisterCustomerResponse>, Status> {
        unary!(self, request, RegisterCustomer)
    }

    async fn register_product(
        &self,
        request: Request<Raw>,
    ) -> Result<Response<RegisterProductResponse>, Status> {
        unary!(self, request, RegisterProduct)
    }

    type ExecuteCommandsStream = std::pin::Pin<
        Box<dyn tokio_stream::Stream<Item = Result<ExecuteCommandsResponse, Status>> + Send>,
    >;

    async fn execute_commands(
        &self,
        request: Request<Streaming<Raw>>,
    ) -> Result<Response<Self::ExecuteCommandsStream>, Status> {
        let origin = origin(request.metadata())?;
        let (pending, taken) = mpsc::channel(ON_A_STREAM);
        // Ends with its stream: when the client has sent all, or takes no more answers.
        tokio::spawn(self.clone().take(request.into_inner(), origin, pending));
        let responses = ReceiverStream::new(taken).then(async |pending| match pending {
            Ok(pending) => Ok(pending.told().await),
            Err(status) => Err(status),
        });
        Ok(Response::new(Box::pin(responses)))
    }
}
