//! CreateOrder: creates an order of one customer, with 1 to 1,000 items in one currency.

use contract::orders::v1::{AggregateType, CreateOrderItem, CreateOrderRequest};
use domain::{
    items::{self, BrokenRule, Item, Items},
    money::{Amount, Currency},
    order,
};
use wire::Violations;

use super::{Action, Check, Fields, Id};

impl Check for CreateOrderRequest {
    fn check(self, violations: &mut Violations) -> Fields {
        violations.id("customer_id", &self.customer_id);
        let customer_id = self.customer_id;
        let action = items(self.items, violations).map(|items| Action::Order {
            command: order::Command::Create { customer_id, items },
            expected_version: None,
        });
        let id = if self.order_id.is_empty() {
            Id::Generated
        } else {
            Id::Given("order_id", self.order_id)
        };
        Fields {
            kind: AggregateType::Order,
            id,
            action,
            occurred_at: self.occurred_at,
        }
    }
}

/// Checks the items of an order. Returns `None` after a violation.
fn items(items: Vec<CreateOrderItem>, violations: &mut Violations) -> Option<Items> {
    if !items::LINE_COUNT.contains(&items.len()) {
        violations.add("items", BrokenRule::Count.to_string());
        return None;
    }
    let mut order_currency = None;
    let mut sound = true;
    let mut lines = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        violations.id(format!("items[{index}].product_id"), &item.product_id);
        let field = format!("items[{index}].unit_price");
        let amount = match item.unit_price {
            None => {
                violations.add(field, "is required");
                None
            }
            Some(price) => {
                let currency = Currency::new(&price.currency_code);
                let rule = match (currency, order_currency) {
                    (None, _) => Some("must be three capital letters, as in ISO 4217"),
                    (Some(currency), _) if !currency.is_money() => {
                        Some("must be the code of a currency: XXX and XTS are none")
                    }
                    (Some(currency), Some(first)) if currency != first => {
                        Some("must be the same on every item")
                    }
                    _ => None,
                };
                if let Some(rule) = rule {
                    violations.add(format!("{field}.currency_code"), rule);
                    sound = false;
                }
                order_currency = order_currency.or(currency);
                violations.amount(field, &price)
            }
        };
        sound &= amount.is_some();
        lines.push(Item {
            product_id: item.product_id,
            quantity: item.quantity,
            // An invalid price counts as 0, so that the other rules are still checked.
            unit_price: Amount::new(amount.unwrap_or_default()),
        });
    }
    match Items::new(lines, order_currency.unwrap_or(Currency::NONE)) {
        Ok(items) => Some(items).filter(|_| sound),
        Err(broken) => {
            for rule in broken {
                let field = match rule {
                    BrokenRule::Count | BrokenRule::Total => "items".to_owned(),
                    BrokenRule::Quantity(index) => format!("items[{index}].quantity"),
                    BrokenRule::Price(index) => format!("items[{index}].unit_price"),
                };
                violations.add(field, rule.to_string());
            }
            None
        }
    }
}
