//! The health of services, as several topics check it.

use e2e::Clients;
use test_support::wait_until;
use tonic::Streaming;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

/// Returns the health of a service, or `None` if the service does not exist.
pub(crate) async fn health(clients: &Clients, service: &str) -> Option<ServingStatus> {
    let mut health = HealthClient::new(clients.channel.clone());
    let checked = health.check(request(service)).await;
    Some(checked.ok()?.into_inner().status())
}

/// Waits until a service is serving.
pub(crate) async fn wait_until_serving(clients: &Clients, service: &str) {
    wait_until(format!("{service} is serving"), async || {
        health(clients, service).await == Some(ServingStatus::Serving)
    })
    .await;
}

/// The reported health of one service.
#[derive(Debug)]
pub(crate) struct Watch(Streaming<HealthCheckResponse>);

impl Watch {
    pub(crate) async fn start(clients: &Clients, service: &str) -> Self {
        let mut health = HealthClient::new(clients.channel.clone());
        let watch = health.watch(request(service)).await;
        Self(watch.unwrap().into_inner())
    }

    /// Returns the next reported health, or `None` when the server ends the watch.
    pub(crate) async fn next(&mut self) -> Option<ServingStatus> {
        let response = self.0.message().await.unwrap();
        response.map(|response| response.status())
    }

    /// Waits until the service reports this health.
    pub(crate) async fn wait_for(&mut self, status: ServingStatus) {
        while self.next().await.expect("the watch goes on") != status {}
    }
}
