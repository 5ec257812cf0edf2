//! `orderlog order create`.

use clap::Args;
use contract::orders::v1::{CreateOrderItem, CreateOrderRequest};
use rust_decimal::Decimal;

use crate::cli::{
    Failure, Run, Session, money,
    write::{Client, Write, execute, told},
};

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  orderlog order create --customer ALFKI --item P1:2:9.50 \
                        --item P2:1:120 --currency USD"
)]
pub(super) struct Create {
    /// The customer who orders
    #[arg(long, value_name = "ID")]
    customer: String,
    /// A line of the order: product, how many pieces, price of one; once for each line
    #[arg(long = "item", value_name = "PRODUCT:QUANTITY:PRICE", required = true, value_parser = item)]
    items: Vec<Item>,
    /// The currency of all prices
    #[arg(long, value_name = "CODE")]
    currency: String,
    /// The order's id [default: the server makes one]
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    #[command(flatten)]
    write: Write,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    product: String,
    quantity: u32,
    price: Decimal,
}

fn item(text: &str) -> Result<Item, String> {
    let [product, quantity, price] = text.split(':').collect::<Vec<_>>()[..] else {
        return Err("it is not PRODUCT:QUANTITY:PRICE, such as P1:2:9.50".to_owned());
    };
    Ok(Item {
        product: product.to_owned(),
        quantity: quantity
            .parse()
            .map_err(|_| format!("`{quantity}` is not a number of pieces"))?,
        price: money::parse(price)?,
    })
}

impl Run for Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let items = self.items.into_iter().map(|item| CreateOrderItem {
            product_id: item.product,
            quantity: item.quantity,
            unit_price: Some(money::of(item.price, &self.currency)),
        });
        let request = CreateOrderRequest {
            request_id: self.write.request_id(),
            order_id: self.order_id.unwrap_or_default(),
            customer_id: self.customer,
            items: items.collect(),
            occurred_at: self.write.occurred_at,
        };
        execute(session, request, Client::create_order, |reply| {
            told("order", &reply.order_id, reply.version, reply.position)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_product_quantity_and_price() {
        assert_eq!(
            item("P1:2:9.50"),
            Ok(Item {
                product: "P1".into(),
                quantity: 2,
                price: "9.5".parse().unwrap(),
            })
        );
        for wrong in ["P1", "P1:2", "P1:2:9:5", "P1:-2:9", "P1:2:nine"] {
            assert!(item(wrong).is_err(), "{wrong}");
        }
    }
}
