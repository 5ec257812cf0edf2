//! The option `--min-position`: the log position that a read model must have reached.

use clap::Args;
use contract::orders::v1::{
    GetHeadRequest, GetStatusRequest, event_service_client::EventServiceClient,
    projection_service_client::ProjectionServiceClient,
};
use tonic::Code;
use wire::Connection;

use super::Failure;

/// How new an answer must be.
#[derive(Debug, Args)]
pub(super) struct Freshness {
    /// Answer from a read model at or past this log position; 0 for what there is [default: the
    /// head of the log, so that everything written before shows]
    #[arg(long, value_name = "N")]
    min_position: Option<u64>,
}

impl Freshness {
    /// Returns the position of the option, by default the head of the log.
    pub(super) async fn min_position(&self, channel: &Connection) -> Result<u64, Failure> {
        match self.min_position {
            Some(position) => Ok(position),
            None => head(channel).await,
        }
    }
}

async fn head(channel: &Connection) -> Result<u64, Failure> {
    let mut events = EventServiceClient::new(channel.clone());
    match events.get_head(GetHeadRequest {}).await {
        Err(status) if status.code() == Code::Unimplemented => head_of_others(channel).await,
        head => Ok(head?.into_inner().position),
    }
}

/// Returns the head position from a node without the role `command`, which follows the log of other
/// nodes.
async fn head_of_others(channel: &Connection) -> Result<u64, Failure> {
    let mut projections = ProjectionServiceClient::new(channel.clone());
    let status = projections.get_status(GetStatusRequest {}).await?;
    let documents = status.into_inner().projections.into_iter().next();
    let documents = documents.unwrap_or_default();
    if documents.error.is_empty() {
        return Ok(documents.head_position);
    }
    Err(Failure::Operation(format!(
        "where the log ends is not known ({}); --min-position 0 asks for what there is",
        documents.error
    )))
}
