//! The health service, `grpc.health.v1`.

use std::fmt;

use futures_util::future::select_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as Service, HealthServer},
    server::HealthReporter,
};

/// The service name of the server as a whole, which serves while all its services serve.
const WHOLE: &str = "";

/// The service name that serves for as long as the process does, for liveness probes.
const LIVE: &str = "orderlog.live";

/// The reported health of each service.
#[derive(Clone)]
pub(crate) struct Health {
    reporter: HealthReporter,
    services: Vec<Needs>,
    /// The last reported statuses, so that watchers of a service hear of changes only.
    told: Vec<(&'static str, bool)>,
    /// Whether the server as a whole serves.
    ready: watch::Sender<bool>,
}

/// A service name, and the conditions that must all be true for the service to serve.
pub(crate) type Needs = (&'static str, Vec<watch::Receiver<bool>>);

impl fmt::Debug for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Health").finish_non_exhaustive()
    }
}

impl Health {
    /// Creates the health service of these services and reports their current statuses.
    pub(crate) async fn new(services: Vec<Needs>) -> (Self, HealthServer<impl Service>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let mut health = Self {
            reporter,
            services,
            told: Vec::new(),
            ready: watch::Sender::new(false),
        };
        health.set(LIVE, true).await;
        health.tell().await;
        (health, service)
    }

    /// Returns whether the server as a whole serves, also in the future.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Reports each change of a condition, until `stop`.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        loop {
            let needs = self.services.iter_mut().flat_map(|(_, needs)| needs);
            let changed = select_all(needs.map(|need| Box::pin(need.changed())));
            let Some((Ok(()), ..)) = stop.run_until_cancelled(changed).await else {
                return;
            };
            self.tell().await;
        }
    }

    /// Reports every service as not serving. [`Health::follow`] must have ended, because it could
    /// overwrite the status.
    pub(crate) async fn drain(&self) {
        self.ready.send_replace(false);
        for service in self.names() {
            self.set(service, false).await;
        }
    }

    /// Ends the streams of clients that watch the health, which would keep their connections open
    /// forever.
    pub(crate) async fn close(&mut self) {
        let names: Vec<_> = self.names().chain([LIVE]).collect();
        for service in names {
            self.reporter.clear_service_status(service).await;
        }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let services = self.services.iter().map(|(service, _)| *service);
        services.chain([WHOLE])
    }

    async fn tell(&mut self) {
        let mut all = true;
        let mut told = Vec::new();
        for (service, needs) in &mut self.services {
            let mut serves = true;
            for need in needs {
                serves &= *need.borrow_and_update();
            }
            all &= serves;
            told.push((*service, serves));
        }
        told.push((WHOLE, all));
        self.ready.send_replace(all);
        for (service, serves) in &told {
            if !self.told.contains(&(*service, *serves)) {
                self.set(service, *serves).await;
            }
        }
        self.told = told;
    }

    async fn set(&self, service: &str, serves: bool) {
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status(service, status).await;
    }
}
