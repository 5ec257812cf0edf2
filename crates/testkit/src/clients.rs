use contract::orders::v1::{
    GetHeadRequest, GetOrderRequest, Order, command_service_client::CommandServiceClient,
    event_service_client::EventServiceClient, projection_service_client::ProjectionServiceClient,
    query_service_client::QueryServiceClient,
};
use server::settings::Caller;
use tonic::transport::{Endpoint, Error};
use wire::{Authorization, Bearer, Connection};

/// A client of each service, on one connection.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The connection.
    pub channel: Connection,
    /// CommandService.
    pub commands: CommandServiceClient<Connection>,
    /// EventService.
    pub events: EventServiceClient<Connection>,
    /// QueryService.
    pub queries: QueryServiceClient<Connection>,
    /// ProjectionService.
    pub projections: ProjectionServiceClient<Connection>,
}

impl From<Connection> for Clients {
    fn from(channel: Connection) -> Self {
        Self {
            commands: CommandServiceClient::new(channel.clone()),
            events: EventServiceClient::new(channel.clone()),
            queries: QueryServiceClient::new(channel.clone()),
            projections: ProjectionServiceClient::new(channel.clone()),
            channel,
        }
    }
}

impl Clients {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        Ok(Connection::new(channel, Bearer::default()).into())
    }

    /// Connects, with TLS if the URL and the settings say so, and shows this token, if it is one.
    ///
    /// # Errors
    /// When nobody listens there, or the two cannot agree.
    ///
    /// # Panics
    /// When a file of the settings is wrong.
    pub async fn connect_as(url: &str, caller: &Caller, token: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(url.to_owned())?;
        let channel = caller.endpoint(endpoint).unwrap().connect().await?;
        let shown = Authorization::of(token.as_bytes()).map(Bearer::of);
        Ok(Connection::new(channel, shown.unwrap_or_default()).into())
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
