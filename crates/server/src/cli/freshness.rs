use clap::Args;
use contract::orders::v1::{GetHeadRequest, event_service_client::EventServiceClient};
use tonic::transport::Channel;

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
    /// The position to ask for.
    pub(super) async fn min_position(&self, channel: &Channel) -> Result<u64, Failure> {
        match self.min_position {
            Some(position) => Ok(position),
            None => {
                let mut events = EventServiceClient::new(channel.clone());
                Ok(events
                    .get_head(GetHeadRequest {})
                    .await?
                    .into_inner()
                    .position)
            }
        }
    }
}
