use std::time::Duration;

use contract::orders::v1::{
    GetHeadRequest, GetStatusRequest, GetStatusResponse, ProjectionState, ProjectionStatus,
    projection_service_server::ProjectionService,
};
use projector::{Nodes, Progress, Report};
use tonic::{Request, Response, Status};

/// How long the log may take to say where its head is.
const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

/// A projection that was at the head so recently is live, even if there is more by now.
const LIVE: Duration = Duration::from_secs(1);

/// What is wrong when nobody says where the log's head is.
const UNKNOWN: &str = "where the log ends is not known";

/// Tells how the projections are doing.
#[derive(Debug, Clone)]
pub struct Projections {
    documents: Progress,
    search: Progress,
    nodes: Nodes,
}

impl Projections {
    /// Of these two, which follow the log that these nodes stream.
    #[must_use]
    pub fn new(documents: Progress, search: Progress, nodes: Nodes) -> Self {
        Self {
            documents,
            search,
            nodes,
        }
    }

    /// Where the log's head is now, for a projection that has stopped does not hear of it.
    async fn head(&self) -> Option<u64> {
        let mut node = self.nodes.current();
        let head = tokio::time::timeout(HEAD_TIMEOUT, node.get_head(GetHeadRequest {})).await;
        Some(head.ok()?.ok()?.into_inner().position)
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

#[tonic::async_trait]
impl ProjectionService for Projections {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let head = self.head().await;
        let documents = self.documents.report();
        let log_id = documents.log_id.clone();
        let projections = vec![
            status("documents", documents, head),
            status("search", self.search.report(), head),
        ];
        Ok(Response::new(GetStatusResponse {
            projections,
            log_id,
        }))
    }
}
