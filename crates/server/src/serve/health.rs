//! What `grpc.health.v1` says.

use std::fmt;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as Service, HealthServer},
    server::HealthReporter,
};

/// The services that need nothing but themselves.
const READ_SIDE: [&str; 2] = ["orders.v1.QueryService", "orders.v1.ProjectionService"];

/// The services that need the log; "" is the server as a whole.
const ON_THE_LOG: [&str; 3] = ["", "orders.v1.CommandService", "orders.v1.EventService"];

/// The health of each service.
#[derive(Clone)]
pub(super) struct Health {
    reporter: HealthReporter,
}

impl fmt::Debug for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// All serving.
    pub(super) async fn new() -> (Self, HealthServer<impl Service>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self { reporter };
        health.set(&READ_SIDE, ServingStatus::Serving).await;
        health.set(&ON_THE_LOG, ServingStatus::Serving).await;
        (health, service)
    }

    /// Tells whether the log answers, until `stop`.
    pub(super) async fn follow(
        self,
        available: [watch::Receiver<bool>; 2],
        stop: CancellationToken,
    ) {
        let [mut writing, mut reading] = available;
        loop {
            let changed = async {
                tokio::select! {
                    changed = writing.changed() => changed,
                    changed = reading.changed() => changed,
                }
            };
            let Some(Ok(())) = stop.run_until_cancelled(changed).await else {
                return;
            };
            let is_available = *writing.borrow_and_update() && *reading.borrow_and_update();
            let status = if is_available {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            self.set(&ON_THE_LOG, status).await;
        }
    }

    /// Tells that calls should go elsewhere.
    pub(super) async fn drain(&self) {
        self.set(&READ_SIDE, ServingStatus::NotServing).await;
        self.set(&ON_THE_LOG, ServingStatus::NotServing).await;
    }

    /// Ends the streams of those who watch it, who would keep their connections for ever.
    pub(super) async fn close(&mut self) {
        for service in READ_SIDE.iter().chain(&ON_THE_LOG) {
            self.reporter.clear_service_status(service).await;
        }
    }

    async fn set(&self, services: &[&str], status: ServingStatus) {
        for service in services {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
