//! Requests that are right.

use contract::{
    google::r#type::Money,
    orders::v1::{
        CancelOrderRequest, CreateOrderItem, CreateOrderRequest, DeliverOrderRequest,
        RegisterCustomerRequest, RegisterProductRequest, ShipOrderRequest,
    },
};
use uuid::Uuid;
use wire::convert;

/// Money from units of 1/10,000.
#[must_use]
pub fn euros(amount: i64) -> Option<Money> {
    Some(convert::money(amount, "EUR"))
}

/// One line: two pieces at 12.50 EUR.
#[must_use]
pub fn item(product_id: &str) -> CreateOrderItem {
    CreateOrderItem {
        product_id: product_id.into(),
        quantity: 2,
        unit_price: euros(125_000),
    }
}

/// An order of one line, 25.00 EUR in all.
#[must_use]
pub fn create(order_id: &str, customer_id: &str) -> CreateOrderRequest {
    CreateOrderRequest {
        request_id: Uuid::now_v7().to_string(),
        order_id: order_id.into(),
        customer_id: customer_id.into(),
        items: vec![item("tea")],
        occurred_at: None,
    }
}

/// Ships it.
#[must_use]
pub fn ship(order_id: &str) -> ShipOrderRequest {
    ShipOrderRequest {
        order_id: order_id.into(),
        shipping_address: "12 Harbour Street, Münster".into(),
        tracking_number: "TRACK-4711".into(),
        ..ShipOrderRequest::default()
    }
}

/// Delivers it.
#[must_use]
pub fn deliver(order_id: &str) -> DeliverOrderRequest {
    DeliverOrderRequest {
        order_id: order_id.into(),
        ..DeliverOrderRequest::default()
    }
}

/// Cancels it.
#[must_use]
pub fn cancel(order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest {
        order_id: order_id.into(),
        reason: "changed my mind".into(),
        ..CancelOrderRequest::default()
    }
}

/// Makes a customer's name known.
#[must_use]
pub fn customer(customer_id: &str, name: &str) -> RegisterCustomerRequest {
    RegisterCustomerRequest {
        customer_id: customer_id.into(),
        name: name.into(),
        ..RegisterCustomerRequest::default()
    }
}

/// Makes a product's name known.
#[must_use]
pub fn product(product_id: &str, name: &str) -> RegisterProductRequest {
    RegisterProductRequest {
        product_id: product_id.into(),
        name: name.into(),
        ..RegisterProductRequest::default()
    }
}
