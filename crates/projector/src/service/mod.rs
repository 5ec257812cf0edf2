//! ProjectionService: the state of the projections, and what operators do about it.

mod operations;
mod parked;

use std::{pin::Pin, sync::Arc, time::Duration};

use contract::orders::v1::{
    GetHeadRequest, GetStatusRequest, GetStatusResponse, ListParkedRequest, ListParkedResponse,
    ProjectionState, ProjectionStatus, RebuildRequest, RebuildResponse, RetryParkedRequest,
    RetryParkedResponse, VerifyRequest, VerifyResponse,
    projection_service_server::ProjectionService,
};
use read_model::{
    progress::{Progress, Report},
    store::{Projection, Reader},
};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{Nodes, Rebuilds, Verifier, documents::Control};

/// How long the log may take to say where its head is.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// A projection that was at the head so recently is live, even if there is more by now.
const LIVE: Duration = Duration::from_secs(1);

/// What is wrong when nobody says where the log's head is.
const UNKNOWN: &str = "where the log ends is not known";

/// Tells how the projections are doing, and does about it what operators ask for.
#[derive(Debug, Clone)]
pub struct Projections(Arc<Projected>);

/// What is projected, and by whom.
#[derive(Debug)]
pub struct Projected {
    /// How far the documents are.
    pub documents: Progress,
    /// How far the search index is.
    pub search: Progress,
    /// Who streams the log.
    pub nodes: Nodes,
    /// The documents.
    pub reader: Reader,
    /// The one who writes the documents.
    pub control: Control,
    /// Makes them again.
    pub rebuilds: Rebuilds,
    /// Looks at them.
    pub verifier: Arc<Verifier>,
    /// Ends the streams.
    pub stop: CancellationToken,
}

impl Projections {
    /// Of these read models.
    #[must_use]
    pub fn new(projected: Projected) -> Self {
        Self(Arc::new(projected))
    }

    /// Where the log's head is now, for a projection that has stopped does not hear of it.
    async fn head(&self) -> Option<u64> {
        let mut node = self.0.nodes.current();
        let head = tokio::time::timeout(HEAD_TIMEOUT, node.get_head(GetHeadRequest {})).await;
        Some(head.ok()?.ok()?.into_inner().position)
    }

    /// How each is doing, and the log that they follow.
    pub async fn all(&self) -> ([ProjectionStatus; 2], String) {
        let head = self.head().await;
        let documents = self.0.documents.report();
        let log_id = documents.log_id.clone();
        let mut search = self.0.search.report();
        // It hears of the head from the documents, and is not at it while they are not.
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
        let parked = self.0.reader.parked_count(projection).await;
        let parked_count = parked.unwrap_or_else(|error| {
            // What keeps it from being read will keep it from going on.
            report.error.get_or_insert(error.to_string());
            0
        });
        ProjectionStatus {
            parked_count,
            ..status(projection.name(), report, head)
        }
    }
}

fn status(name: &str, report: Report, head: Option<u64>) -> ProjectionStatus {
    let head_position = head.unwrap_or(report.head).max(report.position);
    let lag_events = head_position - report.position;
    // Where the head is not known, it may have moved since it was last heard of.
    let lag = match head {
        Some(_) if lag_events == 0 => Duration::ZERO,
        _ => report.at_head.elapsed(),
    };
    let unknown = || head.is_none().then(|| UNKNOWN.to_owned());
    let error = report.error.or_else(unknown);
    let state = match &error {
        Some(_) => ProjectionState::Failing,
        None if lag < LIVE => ProjectionState::Live,
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
        let (rebuilds, stop) = (self.0.rebuilds.clone(), self.0.stop.clone());
        let steps = operations::rebuild(request.into_inner(), rebuilds, stop)?;
        Ok(Response::new(Box::pin(steps)))
    }

    async fn verify(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<Self::VerifyStream>, Status> {
        let (verifier, stop) = (Arc::clone(&self.0.verifier), self.0.stop.clone());
        let found = operations::verify(request.into_inner(), verifier, stop)?;
        Ok(Response::new(Box::pin(found)))
    }

    async fn list_parked(
        &self,
        request: Request<ListParkedRequest>,
    ) -> Result<Response<ListParkedResponse>, Status> {
        let listed = parked::list(request.into_inner(), &self.0.reader).await?;
        Ok(Response::new(listed))
    }

    async fn retry_parked(
        &self,
        request: Request<RetryParkedRequest>,
    ) -> Result<Response<RetryParkedResponse>, Status> {
        let (reader, control) = (&self.0.reader, &self.0.control);
        let retried = parked::retry(request.into_inner(), reader, control).await?;
        Ok(Response::new(retried))
    }
}
