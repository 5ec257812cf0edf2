//! `orderlog order get` and `orderlog order history`.

use std::fmt::Write as _;

use clap::Args;
use contract::orders::v1::{
    GetOrderHistoryRequest, GetOrderRequest, Order, RecordedEvent,
    event_service_client::EventServiceClient, query_service_client::QueryServiceClient,
};

use super::status_name;
use crate::cli::{
    Failure, Run, Session, event,
    freshness::Freshness,
    money,
    table::{self, Column},
    text::printable,
    time,
};

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog order get o-1 --min-position 17")]
pub(super) struct Get {
    /// The order's id
    order_id: String,
    #[command(flatten)]
    freshness: Freshness,
    /// Wait until the order has at least this version
    #[arg(long, value_name = "N")]
    min_version: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog order history o-1")]
pub(super) struct History {
    /// The order's id
    order_id: String,
}

impl Run for Get {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let channel = session.connect().await?;
        let request = GetOrderRequest {
            order_id: self.order_id,
            min_version: self.min_version,
            min_position: self.freshness.min_position(&channel).await?,
            max_wait: None,
        };
        let mut client = QueryServiceClient::new(channel);
        let reply = client.get_order(request).await?.into_inner();
        session.show("GetOrderResponse", &reply, |reply| {
            let card = reply.order.as_ref().map(card).unwrap_or_default();
            match reply.parked {
                true => format!("parked: a later event of the order cannot be projected\n{card}"),
                false => card,
            }
        })
    }
}

impl Run for History {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = GetOrderHistoryRequest {
            order_id: self.order_id,
        };
        let mut client = EventServiceClient::new(session.connect().await?);
        let reply = client.get_order_history(request).await?.into_inner();
        session.show("GetOrderHistoryResponse", &reply, |reply| {
            history(&reply.events)
        })
    }
}

fn card(order: &Order) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<15} {}", printable(&value));
        }
    };
    row("order", order.order_id.clone());
    row("customer", named(&order.customer_id, &order.customer_name));
    row("status", status_name(order.status()).to_owned());
    row("created", time::text(order.created_at.as_ref()));
    row("shipped", time::text(order.shipped_at.as_ref()));
    row("address", order.shipping_address.clone());
    row("tracking number", order.tracking_number.clone());
    row("delivered", time::text(order.delivered_at.as_ref()));
    row("cancelled", time::text(order.cancelled_at.as_ref()));
    row("reason", order.cancellation_reason.clone());
    row("version", order.version.to_string());
    row("position", order.position.to_string());

    let rows = order.items.iter().map(|item| {
        [
            item.product_id.clone(),
            item.product_name.clone(),
            money::count(item.quantity.into()),
            money::text(item.unit_price.as_ref()),
            money::text(item.line_total.as_ref()),
        ]
    });
    let total = money::text(order.total_amount.as_ref());
    let sum = [
        "total".into(),
        String::new(),
        String::new(),
        String::new(),
        total,
    ];
    let columns = [
        Column::Text("PRODUCT"),
        Column::Text("NAME"),
        Column::Number("QUANTITY"),
        Column::Number("PRICE"),
        Column::Number("TOTAL"),
    ];
    format!("{text}\n{}", table::of(columns, rows.chain([sum])))
}

/// Formats an id, followed by its name if the name is known.
pub(super) fn named(id: &str, name: &str) -> String {
    if name.is_empty() {
        id.to_owned()
    } else {
        format!("{id} ({name})")
    }
}

fn history(events: &[RecordedEvent]) -> String {
    let rows = events.iter().map(|event| {
        [
            event.position.to_string(),
            event.version.to_string(),
            event::kind(event).to_owned(),
            time::text(event.occurred_at.as_ref()),
            format!("{}{}", event::details(event), event::by(event)),
        ]
    });
    let columns = [
        Column::Number("POSITION"),
        Column::Number("VERSION"),
        Column::Text("EVENT"),
        Column::Text("WHEN"),
        Column::Text("DETAILS"),
    ];
    table::of(columns, rows)
}

#[cfg(test)]
mod tests {
    use contract::{
        google::r#type::Money,
        orders::v1::{OrderItem, OrderStatus},
    };

    use super::*;

    #[test]
    fn an_order_is_a_card_with_its_lines_and_their_sum() {
        let money = |units, nanos| {
            Some(Money {
                currency_code: "USD".into(),
                units,
                nanos,
            })
        };
        let order = Order {
            order_id: "o-1".into(),
            customer_id: "ALFKI".into(),
            customer_name: "Alfreds".into(),
            status: OrderStatus::Created.into(),
            items: vec![OrderItem {
                product_id: "P1".into(),
                product_name: "Chai".into(),
                quantity: 1_000,
                unit_price: money(1, 234_500_000),
                line_total: money(1_234, 500_000_000),
            }],
            total_amount: money(1_234, 500_000_000),
            created_at: time::parse("2026-11-24").ok(),
            version: 1,
            position: 17,
            ..Order::default()
        };
        let expected = "\
order           o-1
customer        ALFKI (Alfreds)
status          created
created         2026-11-24 00:00:00Z
version         1
position        17

 PRODUCT  NAME  QUANTITY       PRICE         TOTAL
 P1       Chai     1,000  1.2345 USD  1,234.50 USD
 total                                1,234.50 USD";
        assert_eq!(card(&order), expected);
    }
}
