//! Builders of valid requests. A test changes the fields it is about.

use contract::{
    google::r#type::Money,
    orders::v1::{
        CancelOrderRequest, CreateOrderItem, CreateOrderRequest, DeliverOrderRequest,
        RegisterCustomerRequest, RegisterProductRequest, ShipOrderRequest,
    },
};
use uuid::Uuid;
use wire::convert;

/// Builds an amount in EUR from units of 1/10,000.
#[must_use]
pub fn euros(amount: i64) -> Option<Money> {
    Some(convert::money(amount, "EUR"))
}

/// Builds an order line: two pieces at 12.50 EUR.
#[must_use]
pub fn item(product_id: &str) -> CreateOrderItem {
    CreateOrderItem {
        product_id: product_id.into(),
        quantity: 2,
        unit_price: euros(125_000),
    }
}

/// Builds a request that creates an order of one line, 25.00 EUR in total.
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

/// Builds a request that creates an order of 1000 lines, the largest allowed number. Its event has
/// about 100 kB.
#[must_use]
pub fn large(order_id: &str) -> CreateOrderRequest {
    CreateOrderRequest {
        items: vec![item(&"p".repeat(64)); 1000],
        ..create(order_id, "ann")
    }
}

/// Builds a request that ships the order.
#[must_use]
pub fn ship(order_id: &str) -> ShipOrderRequest {
    ShipOrderRequest {
        order_id: order_id.into(),
        shipping_address: "12 Harbour Street, Münster".into(),
        tracking_number: "TRACK-4711".into(),
        ..ShipOrderRequest::default()
    }
}

/// Builds a request that delivers the order.
#[must_use]
pub fn deliver(order_id: &str) -> DeliverOrderRequest {
    DeliverOrderRequest {
        order_id: order_id.into(),
        ..DeliverOrderRequest::default()
    }
}

/// Builds a request that cancels the order.
#[must_use]
pub fn cancel(order_id: &str) -> CancelOrderRequest {
    CancelOrderRequest {
        order_id: order_id.into(),
        reason: "changed my mind".into(),
        ..CancelOrderRequest::default()
    }
}

/// Builds a request that registers the name of a customer.
#[must_use]
pub fn customer(customer_id: &str, name: &str) -> RegisterCustomerRequest {
    RegisterCustomerRequest {
        customer_id: customer_id.into(),
        name: name.into(),
        ..RegisterCustomerRequest::default()
    }
}

/// Builds a request that registers the name of a product.
#[must_use]
pub fn product(product_id: &str, name: &str) -> RegisterProductRequest {
    RegisterProductRequest {
        product_id: product_id.into(),
        name: name.into(),
        ..RegisterProductRequest::default()
    }
}
