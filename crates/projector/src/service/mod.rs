//! ProjectionService: reports the state of the projections and runs the operations that operators
//! ask for.

mod operations;
mod parked;

use std::{pin::Pin, time::Duration};

use contract::orders::v1::{
    GetStatusRequest, GetStatusResponse, ListParkedRequest, ListParkedResponse, ProjectionState,
    ProjectionStatus, RebuildRequest, RebuildResponse, RetryParkedRequest, RetryParkedResponse,
    VerifyRequest, VerifyResponse, projection_service_server::ProjectionService,
};
use read_model::{
    progress::Report,
    store::{self, Projection},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::ProjectorHandle;

/// Maximum lag of a live projection. It lets a projection that keeps up with steady appends count
/// as live.
const MAX_LIVE_LAG: Duration = Duration::from_secs(1);

/// The error of a projection while no node returns the log's head.
const UNKNOWN_HEAD: &str = "where the log ends is not known";

/// Implements ProjectionService for the projections of this node.
#[derive(Debug, Clone)]
pub struct Projections {
    projector: ProjectorHandle,
    /// Ends the streams at shutdown.
    stop: CancellationToken,
}

impl Projections {
    /// Creates the service. `stop` ends its streams.
    #[must_use]
    pub fn new(projector: ProjectorHandle, stop: CancellationToken) -> Self {
        Self { projector, stop }
    }

    /// Returns the status of both projections, and the id of their log.
    pub async fn all(&self) -> ([ProjectionStatus; 2], String) {
        let live = &self.projector.live;
        let head = live.head().await;
        let documents = live.documents.progress().report();
        let log_id = documents.log_id.clone();
        let mut search = live.indexer.progress().report();
        // The index learns of the head from the documents, so it is not at the head while they are
        // behind.
        search.at_head = search.at_head.min(documents.at_head);
        let projections = [
            self.status(Projection::Documents, documents, head).await,
            self.status(Projection::Search, search, head).await,
        ];
        (projections, log_id)
    }

    async fn status(
        &self,
        projection: Projection,
        mut report: Report,
        head: Option<u64>,
    ) -> ProjectionStatus {
        let parked = self.projector.live.reader.parked_count(projection).await;
        let parked_count = parked.unwrap_or_else(|error| {
            // Reports the failure: an unreadable file stops the projection too.
            report.error.get_or_insert(error.to_string());
            0
        });
        let mut status = ProjectionStatus {
            parked_count,
            ..status(projection.name(), report, head)
        };
        let is_listed = *self.projector.live.reader.listed().borrow();
        if projection == Projection::Documents && !is_listed && status.error.is_empty() {
            status.set_state(ProjectionState::CatchingUp);
            status.error = store::Error::Unlisted.to_string();
        }
        status
    }
}

fn status(name: &str, report: Report, head: Option<u64>) -> ProjectionStatus {
    let head_position = head.unwrap_or(report.head).max(report.position);
    let lag_events = head_position - report.position;
    // An unknown head may have moved, so the lag counts from the last time at the head.
    let lag = match head {
        Some(_) if lag_events == 0 => Duration::ZERO,
        _ => report.at_head.elapsed(),
    };
    let unknown = || head.is_none().then(|| UNKNOWN_HEAD.to_owned());
    let error = report.error.or_else(unknown);
    let state = match &error {
        Some(_) => ProjectionState::Failing,
        None if lag < MAX_LIVE_LAG => ProjectionState::Live,
        None => ProjectionState::CatchingUp,
    };
    ProjectionStatus {
        name: name.to_owned(),
        position: report.position,
        head_position,
        lag_events,
        lag: prost_types::Duration::try_from(lag).ok(),
        state: state.into(),
        parked_count: 0,
        generation: report.generation,
        error: error.unwrap_or_default(),
        names_position: report.names,
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ProjectionService for Projections {
    type RebuildStream = Responses<RebuildResponse>;
    type VerifyStream = Responses<VerifyResponse>;

    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let (projections, log_id) = self.all().await;
        Ok(Response::new(GetStatusResponse {
            projections: projections.into(),
            log_id,
        }))
    }

    async fn rebuild(
        &self,
        request: Request<RebuildRequest>,
    ) -> Result<Response<Self::RebuildStream>, Status> {
        let (rebuilds, stop) = (self.projector.rebuilds.clone(), self.stop.clone());
        let steps = operations::rebuild(request.into_inner(), rebuilds, stop)?;
        Ok(Response::new(Box::pin(steps)))
    }

    async fn verify(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let (verifier, stop) = (self.projector.verifier.clone(), self.stop.clone());
        let found = operations::verify(request.into_inner(), verifier, stop)?;
        Ok(Response::new(Box::pin(found)))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        let listed = parked::list(request.into_inner(), &self.projector.live.reader).await?;
        Ok(Response::new(listed))
    }

    async fn retry_parked(
        &self,
        request: Request<RetryParkedRequest>,
    ) -> Result<Response<RetryParkedResponse>, Status> {
        let live = &self.projector.live;
        let retried = parked::retry(request.into_inner(), &live.reader, &live.documents).await?;
        Ok(Response::new(retried))
    }
}
