//! RegisterProduct: registers a product's name, or changes it.

use contract::orders::v1::{AggregateType, RegisterProductRequest};
use wire::Violations;

use super::{Check, Fields, Id};

impl Check for RegisterProductRequest {
    fn check(self, violations: &mut Violations) -> Fields {
        let id = Id::Given("product_id", self.product_id);
        Fields::of_name(
            AggregateType::Product,
            id,
            self.name,
            self.expected_version,
            self.occurred_at,
            violations,
        )
    }
}
