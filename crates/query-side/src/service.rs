//! QueryService: validates each request, waits for its position, and answers.

use std::pin::Pin;

use contract::orders::v1::{
    GetCustomerStatisticsRequest, GetCustomerStatisticsResponse, GetOrderRequest, GetOrderResponse,
    GetStatisticsRequest, GetStatisticsResponse, SearchOrdersRequest, SearchOrdersResponse,
    WatchOrdersRequest, WatchOrdersResponse, query_service_server::QueryService,
};
use read_model::store::{DayPage, Reader};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use wire::{Error, Resource, Violations};

use crate::{check, queries::Queries, token, wait::Wait};

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
        let reached = self.reached(wait).await?;
        let id = &request.customer_id;
        let read = async |documents: &Reader| documents.customer_statistics(id).await;
        let statistics = self.statistics.read(read).await?;
        let as_of = statistics.as_ref().map(|it| it.as_of_position);
        reached.check(as_of.unwrap_or_else(|| self.documents.position()))?;
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
        let limit = check::days(request.page_size, &mut violations);
        violations.finish()?;
        let after = token::day(&request)?;
        let reached = self.reached(wait).await?;
        let days = request.by_day.then_some(DayPage { after, limit });
        let statistics = self.documents.statistics(days).await;
        let statistics = statistics.map_err(|error| Error::from(&error))?;
        reached.check(statistics.as_of_position)?;
        Ok(Response::new(statistics))
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
        let changes_only = request.changes_only;
        let filter = check::filter(request, &mut violations);
        violations.finish()?;
        self.reached(wait).await?;
        Ok(Response::new(Box::pin(self.watch(filter, changes_only)?)))
    }
}
