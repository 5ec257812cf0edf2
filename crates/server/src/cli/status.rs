//! `orderlog status`: shows the progress of the read models, or whether the node is ready.

use clap::Args;
use contract::{
    encoded::event_service_server,
    orders::v1::{
        GetStatusRequest, ProjectionState, ProjectionStatus, command_service_server,
        projection_service_client::ProjectionServiceClient, projection_service_server,
        query_service_server,
    },
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    Failure, Run, Session, money, session,
    table::{self, Column},
    text::printable,
};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only tell whether the node serves all that it is for; if not, the exit code is 1
    #[arg(long)]
    ready: bool,
}

impl Run for Status {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        if self.ready {
            return ready(session).await;
        }
        let mut client = ProjectionServiceClient::new(session.connect().await?);
        let reply = client.get_status(GetStatusRequest {}).await?.into_inner();
        session.show("GetStatusResponse", &reply, |reply| {
            projections(&reply.projections)
        })
    }
}

async fn ready(session: &Session) -> Result<(), Failure> {
    let mut client = HealthClient::new(session.connect().await?);
    let mut serves = async |service: &str| {
        let service = service.to_owned();
        let checked = client.check(HealthCheckRequest { service }).await?;
        Ok::<_, tonic::Status>(checked.into_inner().status() == ServingStatus::Serving)
    };
    if serves("").await? {
        return Ok(session::print("ready")?);
    }
    let mut waiting = Vec::new();
    for service in [
        command_service_server::SERVICE_NAME,
        event_service_server::SERVICE_NAME,
        query_service_server::SERVICE_NAME,
        projection_service_server::SERVICE_NAME,
    ] {
        // A node reports an error for a service that it does not have.
        if serves(service).await.is_ok_and(|serves| !serves) {
            waiting.push(service);
        }
    }
    let waiting = waiting.join(", ");
    Err(Failure::Operation(format!("not ready: {waiting}")))
}

fn projections(projections: &[ProjectionStatus]) -> String {
    let rows = projections.iter().map(|projection| {
        let lag = projection.lag.unwrap_or_default();
        [
            projection.name.clone(),
            state_name(projection.state()).to_owned(),
            money::count(projection.position),
            money::count(projection.head_position),
            money::count(projection.lag_events),
            format!("{}.{:03} s", lag.seconds, lag.nanos / 1_000_000),
            money::count(projection.parked_count),
            projection.generation.to_string(),
        ]
    });
    let columns = [
        Column::Text("PROJECTION"),
        Column::Text("STATE"),
        Column::Number("POSITION"),
        Column::Number("HEAD"),
        Column::Number("EVENTS BEHIND"),
        Column::Number("TIME BEHIND"),
        Column::Number("PARKED"),
        Column::Number("GENERATION"),
    ];
    let table = table::of(columns, rows);
    let with_names = projections
        .iter()
        .filter(|projection| projection.names_position < projection.position)
        .fold(table, |text, projection| {
            let position = money::count(projection.names_position);
            format!("{text}\n{}: names up to event {position}", projection.name)
        });
    projections
        .iter()
        .filter(|projection| !projection.error.is_empty())
        .fold(with_names, |text, projection| {
            let error = printable(&projection.error);
            format!("{text}\n{}: {error}", projection.name)
        })
}

fn state_name(state: ProjectionState) -> &'static str {
    match state {
        ProjectionState::Unspecified => "unknown",
        ProjectionState::CatchingUp => "catching up",
        ProjectionState::Live => "live",
        ProjectionState::Failing => "failing",
    }
}
