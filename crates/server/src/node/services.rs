//! The services of a node, behind the layers that every call passes.

use contract::{
    encoded::{
        command_service_server::{self, CommandServiceServer},
        event_service_server::{self, EventServiceServer},
    },
    orders::v1::{
        projection_service_server::{self, ProjectionServiceServer},
        query_service_server::{self, QueryServiceServer},
    },
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::pb::health_server::{Health as HealthService, HealthServer};
use tonic_web::GrpcWebLayer;
use tower::ServiceBuilder;
use wire::Limit;

use super::{Error, ReadSide, WriteSide};
use crate::{
    console::Console,
    layers::{
        access::Access, elsewhere::Elsewhere, ending::Ending, limits::Limited, observed::Observed,
        traced::Traced, web::Pages,
    },
    listener::HttpService,
    ops::health::Needs,
};

/// Maximum bytes of a message to the health service, which needs no credential.
const MAX_HEALTH_BYTES: usize = 1 << 10;

/// Maximum bytes of a message to the reflection service.
const MAX_REFLECTION_BYTES: usize = 64 << 10;

pub(crate) const LIMITS: [Limit; 2] = [
    Limit::new(
        "bytes of a message to the health service",
        MAX_HEALTH_BYTES as u64,
        "OUT_OF_RANGE",
    ),
    Limit::new(
        "bytes of a message to the reflection service",
        MAX_REFLECTION_BYTES as u64,
        "OUT_OF_RANGE",
    ),
];

/// The sides of a node.
pub(super) struct Sides<'a> {
    pub(super) write: Option<&'a WriteSide>,
    pub(super) read: Option<&'a ReadSide>,
}

/// The layers of a node that depend on its settings.
pub(super) struct Layers {
    pub(super) console: Console,
    pub(super) pages: Pages,
    pub(super) limited: Limited,
    pub(super) access: Access,
}

impl Sides<'_> {
    /// Returns the services, each with the conditions under which it serves.
    pub(super) fn needs(&self) -> Vec<Needs> {
        let mut needs = Vec::new();
        if let Some(side) = self.write {
            let available = side.available.to_vec();
            needs.push((command_service_server::SERVICE_NAME, available.clone()));
            needs.push((event_service_server::SERVICE_NAME, available));
        }
        if let Some(side) = self.read {
            needs.push((
                query_service_server::SERVICE_NAME,
                vec![
                    side.ready.clone(),
                    side.consistent.clone(),
                    side.listed.clone(),
                ],
            ));
            needs.push((projection_service_server::SERVICE_NAME, Vec::new()));
        }
        needs
    }

    /// Returns the routes to all services. Queries and streams are answered on `reading`.
    ///
    /// # Errors
    /// [`Error::Descriptors`]: the reflection service rejects the contract's descriptors.
    pub(super) fn routes(
        &self,
        health: HealthServer<impl HealthService>,
        stop: &CancellationToken,
        reading: &Handle,
    ) -> Result<Routes, Error> {
        let needs = self.needs();
        let mut routes = RoutesBuilder::default();
        routes.add_service(health.max_decoding_message_size(MAX_HEALTH_BYTES));
        routes.add_service(Ending {
            service: reflection(&needs)
                .build_v1()?
                .max_decoding_message_size(MAX_REFLECTION_BYTES),
            stop: stop.clone(),
        });
        routes.add_service(Ending {
            service: reflection(&needs)
                .build_v1alpha()?
                .max_decoding_message_size(MAX_REFLECTION_BYTES),
            stop: stop.clone(),
        });
        if let Some(side) = self.write {
            let events = EventServiceServer::new(side.events.clone());
            routes.add_service(CommandServiceServer::new(side.commands.clone()));
            routes.add_service(Elsewhere::new(events, reading));
        }
        if let Some(side) = self.read {
            let queries = QueryServiceServer::new(side.queries.clone());
            let projections = ProjectionServiceServer::new(side.projections.clone());
            routes.add_service(Elsewhere::new(queries, reading));
            routes.add_service(Elsewhere::new(projections, reading));
        }
        Ok(routes.routes().prepare())
    }
}

impl Layers {
    /// Puts the layers around the routes.
    pub(super) fn around(self, routes: Routes) -> impl HttpService {
        ServiceBuilder::new()
            .layer(self.console)
            .layer(self.pages)
            .layer(GrpcWebLayer::new())
            .layer(Observed)
            .layer(self.limited)
            .layer(self.access)
            .layer(Traced)
            .service(routes)
    }
}

/// Configures reflection of these services. The caller builds version v1 or v1alpha from it.
fn reflection(services: &[Needs]) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(contract::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Error details: no file of the contract imports their messages.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(tonic_health::pb::health_server::SERVICE_NAME);
    services.iter().fold(builder, |builder, (service, _)| {
        builder.with_service_name(*service)
    })
}
