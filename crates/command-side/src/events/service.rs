//! The calls of EventService: checks requests and starts the streams.

use std::{pin::Pin, sync::Arc};

use contract::{
    encoded::{GetOrderHistoryResponse, SubscribeResponse, event_service_server::EventService},
    orders::v1::{
        AggregateType, GetHeadRequest, GetHeadResponse, GetOrderHistoryRequest, SubscribeRequest,
        VerifyLogRequest, VerifyLogResponse,
    },
};
use event_log::{Point, Position};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use tracing::Instrument as _;
use wire::{Error, Limit, Operator, Resource, ResumeToken, Violations};

use crate::{
    error::store_error,
    events::{
        filter::{Filter, MAX_LIST_ENTRIES},
        subscription::{Sources, Start, Subscription},
        verify::Verification,
    },
};

/// Limits the open streams of the service. Past it, calls fail with [`Error::Overloaded`].
const MAX_STREAMS: usize = 10_000;

/// Limits the streams of credentials with the role `operate` beyond those of clients, so that clients
/// take no places of operators, nor of query nodes with such a token.
const MAX_STREAMS_OF_OPERATORS: usize = 64;

/// Limits the streams of clients: all but that of the node's own documents.
const MAX_STREAMS_OF_CLIENTS: usize = MAX_STREAMS - 1;

/// Limits the streams of the node's own read models: of the documents, of a rebuild and of a retry.
const MAX_STREAMS_OF_THIS_NODE: usize = 16;

/// Limits the verifications of the log that run at a time, each of which reads the whole log.
const MAX_VERIFICATIONS: usize = 4;

/// Limits the characters of `log_id`. The id of a log is a UUID.
const MAX_LOG_ID_CHARS: usize = 64;

/// Limits the characters of a `resume_token`: a `log_id`, a number and a UUID.
const MAX_TOKEN_CHARS: usize = MAX_LOG_ID_CHARS + 64;

/// The maximum events of a response if the request's `max_batch_size` is 0.
const DEFAULT_BATCH_EVENTS: u32 = 1000;

/// Limits the `max_batch_size` that a request may ask for.
const MAX_BATCH_EVENTS: u32 = 10_000;

pub(crate) const LIMITS: [Limit; 7] = [
    Limit::new(
        "`Subscribe` streams beyond the limit, for credentials with the role `operate`",
        MAX_STREAMS_OF_OPERATORS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "`Subscribe` streams, those of query nodes included",
        MAX_STREAMS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "`VerifyLog` streams",
        MAX_VERIFICATIONS as u64,
        "`OVERLOADED`",
    ),
    Limit::new(
        "events of a `Subscribe` response",
        MAX_BATCH_EVENTS as u64,
        "`INVALID_FIELD` for a greater `max_batch_size`",
    ),
    Limit::new(
        "entries of each list of a `Subscribe` filter",
        MAX_LIST_ENTRIES as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "characters of a `log_id`",
        MAX_LOG_ID_CHARS as u64,
        "`INVALID_FIELD`",
    ),
    Limit::new(
        "characters of a `resume_token`",
        MAX_TOKEN_CHARS as u64,
        "`INVALID_FIELD`",
    ),
];

/// The EventService of a node.
#[derive(Debug, Clone)]
pub struct Events {
    sources: Sources,
    /// The places of clients' streams.
    subscribers: Arc<Semaphore>,
    /// The places of operators' streams, when clients have taken all others.
    of_operators: Arc<Semaphore>,
    /// The places of this node's own streams.
    of_this_node: Arc<Semaphore>,
    /// Whether the calls of this value are those of this node.
    is_of_this_node: bool,
    verifications: Arc<Semaphore>,
}

impl Events {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            subscribers: Arc::new(Semaphore::new(MAX_STREAMS_OF_CLIENTS)),
            of_operators: Arc::new(Semaphore::new(MAX_STREAMS_OF_OPERATORS)),
            of_this_node: Arc::new(Semaphore::new(MAX_STREAMS_OF_THIS_NODE)),
            is_of_this_node: false,
            verifications: Arc::new(Semaphore::new(MAX_VERIFICATIONS)),
        }
    }

    /// Returns the service for this node's own read models. It has places of its own, because clients
    /// may have taken all others.
    #[must_use]
    pub fn for_this_node(&self) -> Self {
        Self {
            is_of_this_node: true,
            verifications: Arc::new(Semaphore::new(MAX_VERIFICATIONS)),
            ..self.clone()
        }
    }

    /// Returns the number of open streams.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        let all = MAX_STREAMS_OF_CLIENTS + MAX_STREAMS_OF_OPERATORS + MAX_STREAMS_OF_THIS_NODE;
        let places = [&self.subscribers, &self.of_operators, &self.of_this_node];
        let free: usize = places.iter().map(|it| it.available_permits()).sum();
        all - free
    }

    /// Returns the newest position that this node knows of, without reading the store.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.sources.tail.head().get()
    }

    /// Reads the newest position from the store, so that it includes other nodes' appends.
    async fn head(&self) -> Result<Position, Error> {
        self.check_available()?;
        let head = self.sources.reader.head().await;
        head.map_err(|error| store_error(&error))
    }

    /// Fails immediately with [`Error::StoreUnavailable`] while the store does not answer.
    fn check_available(&self) -> Result<(), Error> {
        match *self.sources.available.borrow() {
            true => Ok(()),
            false => Err(Error::StoreUnavailable),
        }
    }

    /// Returns the point of a token, which the log must have.
    async fn find(&self, token: &ResumeToken) -> Result<Point, Error> {
        let point = Point {
            position: token.position.into(),
            event_id: token.event_id,
        };
        let found = self.sources.reader.point(point.position).await;
        let found = found.map_err(|error| store_error(&error))?;
        match point.check(found) {
            Ok(()) => Ok(point),
            Err(event_log::Error::Diverged { .. }) => Err(Error::LogDiverged {
                position: token.position,
                shared: None,
            }),
            Err(error) => Err(store_error(&error)),
        }
    }

    async fn subscription(
        &self,
        request: SubscribeRequest,
        responses: mpsc::Sender<Result<SubscribeResponse, Status>>,
    ) -> Result<Subscription, Error> {
        let SubscribeRequest {
            after_position,
            filter,
            max_batch_size,
            log_id,
            resume_token,
            ..
        } = request;
        let mut violations = Violations::default();
        let is_within = max_batch_size <= MAX_BATCH_EVENTS;
        violations.check(is_within, "max_batch_size", "must be at most 10,000");
        violations.at_most("log_id", &log_id, MAX_LOG_ID_CHARS);
        let token = token(&resume_token, after_position, &log_id, &mut violations);
        let filter = Filter::new(filter.unwrap_or_default(), &mut violations);
        violations.finish()?;
        // Before the log is read, so that the stream ends if the log goes back later.
        let divergences = self.sources.tail.divergences();
        let given = token.as_ref().map_or(&log_id, |token| &token.log_id);
        let actual = self.sources.reader.log_id();
        if !given.is_empty() && given != actual {
            return Err(Error::LogMismatch {
                given: given.clone(),
                actual: actual.to_owned(),
            });
        }
        // Reads the store, because the tail may lack events that another node has appended.
        let head = self.head().await?;
        let (position, point) = match token {
            Some(token) => {
                let point = self.find(&token).await?;
                (point.position, Some(point))
            }
            None if after_position > head.get() => {
                return Err(Error::PositionBeyondHead {
                    position: after_position,
                    head: head.get(),
                });
            }
            None => (after_position.into(), None),
        };
        let start = Start {
            position,
            point,
            head: head.max(position),
            divergences,
        };
        let batch = if max_batch_size == 0 {
            DEFAULT_BATCH_EVENTS
        } else {
            max_batch_size
        };
        Ok(Subscription::new(
            self.sources.clone(),
            filter,
            start,
            batch as usize,
            responses,
        ))
    }
}

/// Reads the resume token of a request, which replaces the other fields.
fn token(
    resume_token: &str,
    after_position: u64,
    log_id: &str,
    violations: &mut Violations,
) -> Option<ResumeToken> {
    if resume_token.is_empty() {
        return None;
    }
    violations.at_most("resume_token", resume_token, MAX_TOKEN_CHARS);
    for (is_unset, field) in [
        (after_position == 0, "after_position"),
        (log_id.is_empty(), "log_id"),
    ] {
        violations.check(is_unset, field, "must be unset beside resume_token");
    }
    let token = resume_token.parse::<ResumeToken>();
    if let Err(error) = &token {
        violations.add("resume_token", error.to_string());
    }
    token.ok()
}

#[tonic::async_trait]
impl EventService for Events {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let operates = request.extensions().get::<Operator>().is_some();
        let request = request.into_inner();
        let follow = request.follow;
        // A subscriber that does not read holds two responses: one in the channel, one in
        // preparation.
        let (responses, sent) = mpsc::channel(1);
        let subscription = self.subscription(request, responses).await?;
        let places = match self.is_of_this_node {
            true => &self.of_this_node,
            false => &self.subscribers,
        };
        let mut permit = Arc::clone(places).try_acquire_owned();
        if permit.is_err() && operates {
            permit = Arc::clone(&self.of_operators).try_acquire_owned();
        }
        let permit = permit.map_err(|_| Error::Overloaded("too many subscribers"))?;
        // The task ends when the subscription has sent all events, or the subscriber has gone.
        let stream = async move {
            subscription.run(follow).await;
            drop(permit);
        };
        tokio::spawn(stream.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }

    async fn get_order_history(
        &self,
        request: Request<GetOrderHistoryRequest>,
    ) -> Result<Response<GetOrderHistoryResponse>, Status> {
        let GetOrderHistoryRequest { order_id } = request.into_inner();
        let mut violations = Violations::default();
        violations.id("order_id", &order_id);
        violations.finish()?;
        self.check_available()?;
        let history = self
            .sources
            .reader
            .history(AggregateType::Order.into(), &order_id)
            .await;
        let events = history.map_err(|error| store_error(&error))?.records;
        if events.is_empty() {
            return Err(Error::NotFound(Resource::Order, order_id).into());
        }
        Ok(Response::new(GetOrderHistoryResponse { events }))
    }

    async fn get_head(
        &self,
        _: Request<GetHeadRequest>,
    ) -> Result<Response<GetHeadResponse>, Status> {
        Ok(Response::new(GetHeadResponse {
            position: self.head().await?.get(),
            log_id: self.sources.reader.log_id().to_owned(),
        }))
    }

    type VerifyLogStream = Pin<Box<dyn Stream<Item = Result<VerifyLogResponse, Status>> + Send>>;

    async fn verify_log(
        &self,
        _: Request<VerifyLogRequest>,
    ) -> Result<Response<Self::VerifyLogStream>, Status> {
        self.check_available()?;
        let permit = Arc::clone(&self.verifications)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many verifications of the log"))?;
        let (responses, sent) = mpsc::channel(1);
        let verification = Verification {
            reader: Arc::clone(&self.sources.reader),
            responses: responses.clone(),
        };
        let stop = self.sources.stop.clone();
        // The task ends with the stream, or at shutdown.
        let stream = async move {
            if stop.run_until_cancelled(verification.run()).await.is_none() {
                // Ends the stream with an error, because the verification is incomplete. The send
                // fails if the client has gone.
                let _ = responses.send(Err(Error::ShuttingDown.into())).await;
            }
            drop(permit);
        };
        tokio::spawn(stream.in_current_span());
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }
}

#[cfg(test)]
mod tests;
