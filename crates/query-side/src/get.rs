//! GetOrder: one order, at or past a version on request.

use contract::orders::v1::{GetOrderRequest, GetOrderResponse};
use read_model::store::FoundOrder;
use wire::{Error, Resource, Violations};

use crate::{queries::Queries, wait::Wait};

impl Queries {
    pub(crate) async fn order(&self, request: GetOrderRequest) -> Result<GetOrderResponse, Error> {
        let mut violations = Violations::default();
        let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
        violations.id("order_id", &request.order_id);
        violations.finish()?;
        let reached = self.reached(wait).await?;
        let mut position = self.documents.subscribe();
        loop {
            // Marks the position as seen before the read, so that any later change ends the wait.
            position.mark_unchanged();
            let found = self.documents.order(&request.order_id).await;
            let FoundOrder {
                order,
                is_parked,
                as_of: as_of_position,
            } = found.map_err(|error| Error::from(&error))?;
            reached.check(as_of_position)?;
            let version = order.as_ref().map_or(0, |order| order.version);
            let later = request.min_version.filter(|wanted| version < *wanted);
            if is_parked && (order.is_none() || later.is_some()) {
                let order_id = request.order_id;
                return Err(Error::OrderParked { order_id, version });
            }
            let Some(wanted) = later else {
                return match order {
                    Some(order) => Ok(GetOrderResponse {
                        order: Some(order),
                        as_of_position,
                        parked: is_parked,
                    }),
                    None => Err(Error::NotFound(Resource::Order, request.order_id)),
                };
            };
            match tokio::time::timeout_at(wait.deadline, position.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::ShuttingDown),
                Err(_) => {
                    let position = as_of_position;
                    return Err(Error::ReadModelBehind {
                        awaited: "min_version",
                        wanted,
                        position,
                    });
                }
            }
        }
    }
}
