use std::{pin::Pin, sync::Arc};

use contract::orders::v1::{
    GetCustomerStatisticsRequest, GetCustomerStatisticsResponse, GetOrderRequest, GetOrderResponse,
    GetStatisticsRequest, GetStatisticsResponse, SearchOrdersRequest, SearchOrdersResponse,
    WatchOrdersRequest, WatchOrdersResponse, query_service_server::QueryService,
};
use read_model::{progress::Progress, search::Engine, store::Reader};
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wire::{Error, Resource, Violations};

use crate::{check, search::SEARCHES, wait::Wait, watch::WATCHERS};

/// Answers queries.
#[derive(Debug, Clone)]
pub struct Queries {
    pub(crate) documents: Reader,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) index: Progress,
    pub(crate) stop: CancellationToken,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) searches: Arc<Semaphore>,
}

impl Queries {
    /// From these documents and this engine, of which `index` says how far it is. `stop` ends the
    /// streams.
    pub fn new(
        documents: Reader,
        engine: Arc<dyn Engine>,
        index: Progress,
        stop: CancellationToken,
    ) -> Self {
        Self {
            documents,
            engine,
            index,
            stop,
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
        }
    }

    /// WatchOrders streams that are open now.
    #[must_use]
    pub fn watching(&self) -> usize {
        WATCHERS - self.watchers.available_permits()
    }

    /// Waits until the documents are where the request wants them.
    pub(crate) async fn reached(&self, wait: Wait) -> Result<(), Error> {
        let reached = async {
            if self.documents.wait_for(wait.position).await.is_err() {
                // The projector has ended, and with it this process soon; until then, the caller's
                // time runs.
                std::future::pending::<()>().await;
            }
        };
        wait.until(reached, || self.documents.position()).await
    }

    async fn order(&self, request: GetOrderRequest) -> Result<GetOrderResponse, Error> {
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        violations.id("order_id", &request.order_id);
        violations.finish()?;
        self.reached(wait).await?;
        let mut position = self.documents.subscribe();
        loop {
            // Seen before the documents are read: what comes later wakes us.
            position.mark_unchanged();
            let found = self.documents.order(&request.order_id).await;
            let (order, as_of_position) = found.map_err(|error| Error::from(&error))?;
            let version = order.as_ref().map_or(0, |order| order.version);
            let Some(wanted) = request.min_version.filter(|wanted| version < *wanted) else {
                return match order {
                    Some(order) => Ok(GetOrderResponse {
                        order: Some(order),
                        as_of_position,
                    }),
                    None => Err(Error::NotFound(Resource::Order, request.order_id)),
                };
            };
            match tokio::time::timeout_at(wait.deadline, position.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::ShuttingDown),
                Err(_) => {
                    let position = as_of_position;
                    return Err(Error::ReadModelBehind {
                        awaited: "min_version",
                        wanted,
                        position,
                    });
                }
            }
        }
    }
}

#[tonic::async_trait]
impl QueryService for Queries {
    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        Ok(Response::new(self.order(request.into_inner()).await?))
    }

    async fn search_orders(
        &self,
        request: Request<SearchOrdersRequest>,
    ) -> Result<Response<SearchOrdersResponse>, Status> {
        Ok(Response::new(self.search(request.into_inner()).await?))
    }

    async fn get_customer_statistics(
        &self,
        request: Request<GetCustomerStatisticsRequest>,
    ) -> Result<Response<GetCustomerStatisticsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        violations.id("customer_id", &request.customer_id);
        violations.finish()?;
        self.reached(wait).await?;
        let statistics = self
            .documents
            .customer_statistics(&request.customer_id)
            .await;
        let statistics = statistics.map_err(|error| Error::from(&error))?;
        let unknown = || Error::NotFound(Resource::Customer, request.customer_id);
        Ok(Response::new(statistics.ok_or_else(unknown)?))
    }

    async fn get_statistics(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Result<Response<GetStatisticsResponse>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        violations.finish()?;
        self.reached(wait).await?;
        let statistics = self.documents.statistics(request.by_day).await;
        Ok(Response::new(
            statistics.map_err(|error| Error::from(&error))?,
        ))
    }

    type WatchOrdersStream =
        Pin<Box<dyn Stream<Item = Result<WatchOrdersResponse, Status>> + Send>>;

    async fn watch_orders(
        &self,
        request: Request<WatchOrdersRequest>,
    ) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let request = request.into_inner();
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        let filter = check::watch(request, &mut violations);
        violations.finish()?;
        self.reached(wait).await?;
        Ok(Response::new(Box::pin(self.watch(filter)?)))
    }
}
