//! ShipOrder: records the shipment of a created order to an address.

use contract::orders::v1::ShipOrderRequest;
use domain::{limits, order};
use wire::Violations;

use super::{Check, Fields};

impl Check for ShipOrderRequest {
    fn check(self, violations: &mut Violations) -> Fields {
        let (address, number) = (&self.shipping_address, &self.tracking_number);
        violations.text("shipping_address", address, limits::MAX_TEXT_CHARS);
        violations.text("tracking_number", number, limits::MAX_TRACKING_NUMBER_CHARS);
        let command = order::Command::Ship {
            shipping_address: self.shipping_address,
            tracking_number: self.tracking_number,
        };
        Fields::of_order(
            self.order_id,
            command,
            self.expected_version,
            self.occurred_at,
        )
    }
}
