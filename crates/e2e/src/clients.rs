//! Clients of all services on one connection.

use contract::orders::v1::{
    command_service_client::CommandServiceClient, event_service_client::EventServiceClient,
    projection_service_client::ProjectionServiceClient, query_service_client::QueryServiceClient,
};
use server::settings::Caller;
use tonic::transport::{Endpoint, Error};
use wire::{Authorization, Bearer, Connection};

/// One client of each service. All share one connection.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The connection, for calls that no generated client makes.
    pub channel: Connection,
    /// The client of `CommandService`.
    pub commands: CommandServiceClient<Connection>,
    /// The client of `EventService`.
    pub events: EventServiceClient<Connection>,
    /// The client of `QueryService`.
    pub queries: QueryServiceClient<Connection>,
    /// The client of `ProjectionService`.
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
    /// Connects without TLS settings and without a token.
    ///
    /// # Errors
    /// Fails if the URL is invalid or no server listens there.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect().await?;
        Ok(Connection::new(channel, Bearer::default()).into())
    }

    /// Connects with the TLS settings of `caller`, and sends `token` with each call. A value that
    /// is not a valid token is not sent.
    ///
    /// # Errors
    /// Fails if the URL is invalid, no server listens there, or the TLS handshake fails.
    ///
    /// # Panics
    /// Panics if a file named in `caller` is invalid.
    pub async fn connect_as(url: &str, caller: &Caller, token: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(url.to_owned())?;
        let channel = caller.endpoint(endpoint).unwrap().connect().await?;
        let shown = Authorization::of(token.as_bytes()).map(Bearer::of);
        Ok(Connection::new(channel, shown.unwrap_or_default()).into())
    }
}
