//! The calls of the contract, one method each.
//!
//! A call that tests expect to be refused returns a `Result`, for `unwrap` or
//! `test_support::assert_refused`.

use contract::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse,
    DeliverOrderRequest, DeliverOrderResponse, Difference, GetHeadRequest, GetHeadResponse,
    GetOrderHistoryRequest, GetOrderRequest, GetOrderResponse, GetStatisticsRequest,
    GetStatusRequest, GetStatusResponse, ListParkedRequest, ListParkedResponse, Order,
    ProjectionStatus, RebuildRequest, RebuildResponse, RecordedEvent, RegisterCustomerRequest,
    RegisterCustomerResponse, RegisterProductRequest, RegisterProductResponse, RetryParkedRequest,
    RetryParkedResponse, SearchOrdersRequest, SearchOrdersResponse, ShipOrderRequest,
    ShipOrderResponse, SubscribeRequest, VerifyRequest, WatchOrdersRequest, WatchOrdersResponse,
};
use test_support::{order, request};
use tonic::{IntoRequest, Status, Streaming};

use crate::{Clients, Events};

/// Writes one method of [`Clients`] for each unary or streaming call that needs nothing but its
/// request.
macro_rules! calls {
    ($($(#[$about:meta])* $method:ident: $client:ident, $request:ty => $reply:ty;)*) => {
        impl Clients {
            $(
                $(#[$about])*
                ///
                /// # Errors
                /// Returns the error of the server.
                pub async fn $method(
                    &mut self,
                    request: impl IntoRequest<$request>,
                ) -> Result<$reply, Status> {
                    Ok(self.$client.$method(request).await?.into_inner())
                }
            )*
        }
    };
}

calls! {
    /// Creates an order.
    create_order: commands, CreateOrderRequest => CreateOrderResponse;
    /// Ships an order.
    ship_order: commands, ShipOrderRequest => ShipOrderResponse;
    /// Marks an order as delivered.
    deliver_order: commands, DeliverOrderRequest => DeliverOrderResponse;
    /// Cancels an order.
    cancel_order: commands, CancelOrderRequest => CancelOrderResponse;
    /// Registers the name of a customer.
    register_customer: commands, RegisterCustomerRequest => RegisterCustomerResponse;
    /// Registers the name of a product.
    register_product: commands, RegisterProductRequest => RegisterProductResponse;
    /// Reads the end of the log.
    get_head: events, GetHeadRequest => GetHeadResponse;
    /// Reads an order.
    get_order: queries, GetOrderRequest => GetOrderResponse;
    /// Reads one page of the orders that match.
    search_orders: queries, SearchOrdersRequest => SearchOrdersResponse;
    /// Watches the orders that match.
    watch_orders: queries, WatchOrdersRequest => Streaming<WatchOrdersResponse>;
    /// Reads one page of the parked orders.
    list_parked: projections, ListParkedRequest => ListParkedResponse;
    /// Projects the events of parked orders.
    retry_parked: projections, RetryParkedRequest => RetryParkedResponse;
}

impl Clients {
    /// Creates an order with this id for the customer `ann`, and returns the event's position.
    ///
    /// # Panics
    /// Panics if the server refuses the command.
    pub async fn create(&mut self, order_id: &str) -> u64 {
        let created = self.create_order(order::create(order_id, "ann")).await;
        created.unwrap().position
    }

    /// Creates the orders `{name}-0`, `{name}-1`, ..., for seven customers in turn, and returns the
    /// newest position.
    ///
    /// # Panics
    /// Panics if the server refuses a command.
    pub async fn create_many(&mut self, name: &str, count: usize) -> u64 {
        let mut position = 0;
        for index in 0..count {
            let create = order::create(&format!("{name}-{index}"), &format!("c-{}", index % 7));
            position = self.create_order(create).await.unwrap().position;
        }
        position
    }

    /// Returns an order from a read model at or past `min_position`. The server waits up to 30 s
    /// for that position.
    ///
    /// # Panics
    /// Panics if the order does not exist, or if the read model does not reach the position.
    pub async fn order(&mut self, id: &str, min_position: u64) -> Order {
        let found = self.get_order(request::order(id, min_position)).await;
        let found = found.unwrap();
        assert!(found.as_of_position >= min_position);
        found.order.unwrap()
    }

    /// Searches for words, or lists all orders if `query` is empty, at or past `min_position`. The
    /// server waits up to 30 s for that position.
    ///
    /// # Errors
    /// Returns the error of the server.
    ///
    /// # Panics
    /// Panics if the answer is of an earlier position.
    pub async fn search(
        &mut self,
        query: &str,
        min_position: u64,
    ) -> Result<SearchOrdersResponse, Status> {
        let found = self.search_orders(request::search(query, min_position));
        let found = found.await?;
        assert!(found.as_of_position >= min_position, "{found:?}");
        Ok(found)
    }

    /// Returns the number of all orders, from a read model at or past `min_position`.
    ///
    /// # Panics
    /// Panics if the read model does not reach the position.
    pub async fn total_orders(&mut self, min_position: u64) -> u64 {
        let request = GetStatisticsRequest {
            min_position,
            max_wait: request::max_wait(),
            ..GetStatisticsRequest::default()
        };
        let statistics = self.queries.get_statistics(request).await.unwrap();
        statistics.into_inner().total_orders
    }

    /// Returns the position of the newest event.
    ///
    /// # Panics
    /// Panics if the call fails.
    pub async fn head(&mut self) -> u64 {
        self.get_head(GetHeadRequest {}).await.unwrap().position
    }

    /// Returns all events of an order.
    ///
    /// # Errors
    /// Returns the error of the server.
    pub async fn order_history(&mut self, order_id: &str) -> Result<Vec<RecordedEvent>, Status> {
        let request = GetOrderHistoryRequest {
            order_id: order_id.into(),
        };
        let history = self.events.get_order_history(request).await?;
        Ok(history.into_inner().events)
    }

    /// Subscribes to events.
    ///
    /// # Errors
    /// Returns the error of the server.
    pub async fn subscribe(&mut self, request: SubscribeRequest) -> Result<Events, Status> {
        let stream = self.events.subscribe(request).await?;
        Ok(Events::from(stream.into_inner()))
    }

    /// Returns the events of a subscription that ends at the head of the log.
    ///
    /// # Panics
    /// Panics if the server refuses the subscription, or breaks it off.
    pub async fn events(&mut self, request: SubscribeRequest) -> Vec<RecordedEvent> {
        self.subscribe(request).await.unwrap().rest().await
    }

    /// Returns the whole log, and asserts that its positions are 1, 2, 3, ...
    ///
    /// # Panics
    /// Panics if the log cannot be read, or if its positions are not dense.
    pub async fn log(&mut self) -> Vec<RecordedEvent> {
        let events = self.events(SubscribeRequest::default()).await;
        for (event, position) in events.iter().zip(1..) {
            assert_eq!(event.position, position, "the positions are dense");
        }
        events
    }

    /// Returns the status of all projections.
    ///
    /// # Panics
    /// Panics if the call fails.
    pub async fn status(&mut self) -> GetStatusResponse {
        let status = self.projections.get_status(GetStatusRequest {}).await;
        status.unwrap().into_inner()
    }

    /// Returns the status of one projection: `documents` or `search`.
    ///
    /// # Panics
    /// Panics if the projection does not exist.
    pub async fn projection(&mut self, name: &str) -> ProjectionStatus {
        let mut all = self.status().await.projections.into_iter();
        all.find(|projection| projection.name == name).unwrap()
    }

    /// Rebuilds projections or rolls them back, and returns the reported progress.
    ///
    /// # Errors
    /// Returns the error of the server, also one in the midst of the stream.
    pub async fn rebuild(
        &mut self,
        request: RebuildRequest,
    ) -> Result<Vec<RebuildResponse>, Status> {
        let mut steps = self.projections.rebuild(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(step) = steps.message().await? {
            all.push(step);
        }
        Ok(all)
    }

    /// Verifies these parts to the end, or all parts if the list is empty. Returns each difference
    /// as its subject and its problem.
    ///
    /// # Errors
    /// Returns the error of the server, also one in the midst of the stream.
    ///
    /// # Panics
    /// Panics if the server does not finish each part.
    pub async fn verify(&mut self, parts: &[&str]) -> Result<Vec<String>, Status> {
        let request = VerifyRequest {
            parts: parts.iter().copied().map(Into::into).collect(),
        };
        let mut stream = self.projections.verify(request).await?.into_inner();
        let (mut differences, mut finished) = (Vec::new(), Vec::new());
        while let Some(response) = stream.message().await? {
            for Difference { subject, problem } in response.differences {
                differences.push(format!("{subject} {problem}"));
            }
            if response.finished {
                assert_eq!(response.done_position, response.total_position);
                finished.push(response.part);
            }
        }
        let all: &[&str] = &["log", "documents", "search"];
        assert_eq!(finished, if parts.is_empty() { all } else { parts });
        Ok(differences)
    }

    /// Asserts that these parts have no differences, or that no part has if the list is empty.
    ///
    /// # Panics
    /// Panics if there is a difference.
    pub async fn assert_verified(&mut self, parts: &[&str]) {
        assert_eq!(self.verify(parts).await.unwrap(), [""; 0]);
    }
}
