use contract::orders::v1::{
    GetHeadRequest, GetOrderRequest, Order, command_service_client::CommandServiceClient,
    event_service_client::EventServiceClient, projection_service_client::ProjectionServiceClient,
    query_service_client::QueryServiceClient,
};
use tonic::transport::{Channel, Endpoint, Error};

/// A client of each service, on one connection.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The connection.
    pub channel: Channel,
    /// CommandService.
    pub commands: CommandServiceClient<Channel>,
    /// EventService.
    pub events: EventServiceClient<Channel>,
    /// QueryService.
    pub queries: QueryServiceClient<Channel>,
    /// ProjectionService.
    pub projections: ProjectionServiceClient<Channel>,
}

impl Clients {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        Ok(Self {
            commands: CommandServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            queries: QueryServiceClient::new(channel.clone()),
            projections: ProjectionServiceClient::new(channel.clone()),
            channel,
        })
    }

    /// An order, from a read model at or past a position.
    ///
    /// # Panics
    /// When there is none, or the read model does not get there.
    pub async fn order(&mut self, id: &str, min_position: u64) -> Order {
        let request = GetOrderRequest {
            order_id: id.to_owned(),
            min_position,
            max_wait: Some(prost_types::Duration {
                seconds: 30,
                nanos: 0,
            }),
            ..GetOrderRequest::default()
        };
        let reply = self.queries.get_order(request).await.unwrap().into_inner();
        assert!(reply.as_of_position >= min_position);
        reply.order.unwrap()
    }

    /// The position of the newest event.
    ///
    /// # Panics
    /// When the server does not say.
    pub async fn head(&mut self) -> u64 {
        let head = self.events.get_head(GetHeadRequest {}).await.unwrap();
        head.into_inner().position
    }
}
