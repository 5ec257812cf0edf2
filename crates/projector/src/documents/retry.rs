//! Retries of parked aggregates: reads their events from the log again, and projects them.

use std::time::Duration;

use contract::orders::v1::{AggregateType, GetOrderHistoryRequest, RecordedEvent};
use read_model::AggregateId;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::{
    Documents,
    handle::{Retried, RetryError},
};
use crate::stream;

/// Maximum time for a node to return the events of a parked aggregate.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of parked aggregates that are retried after a switch.
const MAX_RETRIED_AGGREGATES: u32 = 1000;

impl Documents {
    /// Retries the aggregates that the new generation parked while it was filled. The old generation
    /// may have projected them by a later retry.
    pub(super) async fn retry_parked(&mut self) {
        let parked = match self.writer.parked_aggregates(MAX_RETRIED_AGGREGATES).await {
            Ok(parked) => parked,
            Err(error) => return tracing::warn!(%error, "parked aggregates are not retried"),
        };
        if let Err(error) = self.retry(parked).await {
            tracing::warn!(%error, "parked aggregates are not retried");
        }
    }

    pub(super) async fn retry(&mut self, parked: Vec<AggregateId>) -> Result<Retried, RetryError> {
        let mut retried = Retried::default();
        for aggregate in parked {
            let Some(position) = self.writer.parked_position(&aggregate).await? else {
                // A later event has given a name meanwhile.
                retried.projected += 1;
                continue;
            };
            let read = timeout(READ_TIMEOUT, self.waiting(&aggregate, position)).await;
            let late = |_| Err(Status::deadline_exceeded("no answer"));
            let events = match read.unwrap_or_else(late) {
                Ok(events) => events,
                // The node cannot read the events, so the aggregate stays parked.
                Err(status) if status.code() == Code::Internal => {
                    retried.parked += 1;
                    continue;
                }
                Err(status) => return Err(RetryError::Log(aggregate, status)),
            };
            match self.writer.retry(&aggregate, &events).await? {
                true => retried.projected += 1,
                false => retried.parked += 1,
            }
        }
        Ok(retried)
    }

    /// Reads the events of a parked aggregate: all of an order, or the one at `position` that should
    /// have given a name.
    async fn waiting(
        &self,
        aggregate: &AggregateId,
        position: u64,
    ) -> Result<Vec<RecordedEvent>, Status> {
        if aggregate.kind != AggregateType::Order {
            return Ok(vec![stream::event(&self.nodes, position).await?]);
        }
        let request = GetOrderHistoryRequest {
            order_id: aggregate.id.clone(),
        };
        let history = self.nodes.current().get_order_history(request).await?;
        Ok(history.into_inner().events)
    }
}
