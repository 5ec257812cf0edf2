//! RegisterCustomer: registers a customer's name, or changes it.

use contract::orders::v1::{AggregateType, RegisterCustomerRequest};
use wire::Violations;

use super::{Check, Fields, Id};

impl Check for RegisterCustomerRequest {
    fn check(self, violations: &mut Violations) -> Fields {
        let id = Id::Given("customer_id", self.customer_id);
        Fields::of_name(
            AggregateType::Customer,
            id,
            self.name,
            self.expected_version,
            self.occurred_at,
            violations,
        )
    }
}
