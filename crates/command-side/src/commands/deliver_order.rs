//! DeliverOrder: records the arrival of a shipped order.

use contract::orders::v1::DeliverOrderRequest;
use domain::order;
use wire::Violations;

use super::{Check, Fields};

impl Check for DeliverOrderRequest {
    fn check(self, _: &mut Violations) -> Fields {
        let command = order::Command::Deliver;
        Fields::of_order(
            self.order_id,
            command,
            self.expected_version,
            self.occurred_at,
        )
    }
}
