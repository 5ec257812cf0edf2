use std::{pin::Pin, sync::Arc};

use contract::{
    encoded::{GetOrderHistoryResponse, SubscribeResponse, event_service_server::EventService},
    orders::v1::{
        AggregateType, GetHeadRequest, GetHeadResponse, GetOrderHistoryRequest, SubscribeRequest,
        VerifyLogRequest, VerifyLogResponse,
    },
};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use wire::{Error, Resource, Violations};

use crate::{
    error::store_error,
    events::{
        filter::Filter,
        subscription::{Sources, Subscription},
        verify::Look,
    },
};

/// Subscribers at the same time.
const SUBSCRIBERS: usize = 10_000;

/// Events in a response, if the subscriber does not say.
const BATCH: u32 = 1000;

/// Events in a response at most.
const MOST_IN_A_BATCH: u32 = 10_000;

/// Streams the log.
#[derive(Debug, Clone)]
pub struct Events {
    sources: Sources,
    subscribers: Arc<Semaphore>,
}

impl Events {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            subscribers: Arc::new(Semaphore::new(SUBSCRIBERS)),
        }
    }

    /// Streams that are open now.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        SUBSCRIBERS - self.subscribers.available_permits()
    }

    /// Where the log ends, as far as this node has heard.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.sources.tail.head()
    }

    /// Where the log ends, whichever node has appended there.
    async fn head(&self) -> Result<u64, Error> {
        self.check_available()?;
        let head = self.sources.reader.head().await;
        head.map_err(|error| store_error(&error))
    }

    /// Whoever asks while the store does not answer is told so at once.
    fn check_available(&self) -> Result<(), Error> {
        match *self.sources.available.borrow() {
            true => Ok(()),
            false => Err(Error::StoreUnavailable),
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
            ..
        } = request;
        let mut violations = Violations::default();
        let within = max_batch_size <= MOST_IN_A_BATCH;
        violations.check(within, "max_batch_size", "must be at most 10,000");
        violations.finish()?;
        let filter = Filter::new(filter.unwrap_or_default())?;
        let actual = self.sources.reader.log_id();
        if !log_id.is_empty() && log_id != actual {
            return Err(Error::LogMismatch {
                given: log_id,
                actual: actual.to_owned(),
            });
        }
        // Not that of the tail: another node may have appended, and this one not heard of it yet.
        let head = self.head().await?;
        if after_position > head {
            return Err(Error::PositionBeyondHead {
                position: after_position,
                head,
            });
        }
        let batch = if max_batch_size == 0 {
            BATCH
        } else {
            max_batch_size
        };
        Ok(Subscription::new(
            self.sources.clone(),
            filter,
            after_position,
            head,
            batch as usize,
            responses,
        ))
    }
}

#[tonic::async_trait]
impl EventService for Events {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let request = request.into_inner();
        let follow = request.follow;
        // One in the channel, one in the making: a subscriber that does not read holds no more.
        let (responses, sent) = mpsc::channel(1);
        let subscription = self.subscription(request, responses).await?;
        let place = Arc::clone(&self.subscribers)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many subscribers"))?;
        // Ends with its stream: when all is sent, or the subscriber has gone.
        tokio::spawn(async move {
            subscription.run(follow).await;
            drop(place);
        });
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
            position: self.head().await?,
            log_id: self.sources.reader.log_id().to_owned(),
        }))
    }
    type VerifyLogStream = Pin<Box<dyn Stream<Item = Result<VerifyLogResponse, Status>> + Send>>;

    async fn verify_log(
        &self,
        _: Request<VerifyLogRequest>,
    ) -> Result<Response<Self::VerifyLogStream>, Status> {
        self.check_available()?;
        let place = Arc::clone(&self.subscribers)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded("too many subscribers"))?;
        let (responses, sent) = mpsc::channel(1);
        let look = Look {
            reader: Arc::clone(&self.sources.reader),
            responses: responses.clone(),
        };
        let stop = self.sources.stop.clone();
        // Ends with its stream, or at shutdown.
        tokio::spawn(async move {
            if stop.run_until_cancelled(look.run()).await.is_none() {
                // Not as if all had been looked at. Fails when nobody listens any more.
                let _ = responses.send(Err(Error::ShuttingDown.into())).await;
            }
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }
}
