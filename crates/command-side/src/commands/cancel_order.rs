//! CancelOrder: cancels a created order, for a reason.

use contract::orders::v1::CancelOrderRequest;
use domain::{limits, order};
use wire::Violations;

use super::{Check, Fields};

impl Check for CancelOrderRequest {
    fn check(self, violations: &mut Violations) -> Fields {
        violations.text("reason", &self.reason, limits::MAX_TEXT_CHARS);
        let command = order::Command::Cancel {
            reason: self.reason,
        };
        Fields::of_order(
            self.order_id,
            command,
            self.expected_version,
            self.occurred_at,
        )
    }
}
