//! `orderlog order ship`, `deliver` and `cancel`.

use clap::Args;
use contract::orders::v1::{CancelOrderRequest, DeliverOrderRequest, ShipOrderRequest};

use crate::cli::{
    Failure, Run, Session,
    write::{Client, Write, execute, told},
};

/// The arguments of every change of an order.
#[derive(Debug, Args)]
struct Change {
    /// The order's id
    order_id: String,
    /// Refuse unless the order is at this version
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    #[command(flatten)]
    write: Write,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  orderlog order ship o-1 --address 'Obere Str. 57, Berlin' \
                        --tracking-number DHL-17"
)]
pub(super) struct Ship {
    #[command(flatten)]
    change: Change,
    /// The address to ship to
    #[arg(long)]
    address: String,
    /// The carrier's tracking number
    #[arg(long)]
    tracking_number: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog order deliver o-1")]
pub(super) struct Deliver {
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  orderlog order cancel o-1 --reason 'changed their mind'")]
pub(super) struct Cancel {
    #[command(flatten)]
    change: Change,
    /// Why
    #[arg(long)]
    reason: String,
}

impl Run for Ship {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ShipOrderRequest {
            request_id: self.change.write.request_id(),
            order_id: self.change.order_id,
            shipping_address: self.address,
            tracking_number: self.tracking_number,
            expected_version: self.change.expected_version,
            occurred_at: self.change.write.occurred_at,
        };
        execute(session, request, Client::ship_order, |reply| {
            told("order", &reply.order_id, reply.version, reply.position)
        })
        .await
    }
}

impl Run for Deliver {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = DeliverOrderRequest {
            request_id: self.change.write.request_id(),
            order_id: self.change.order_id,
            expected_version: self.change.expected_version,
            occurred_at: self.change.write.occurred_at,
        };
        execute(session, request, Client::deliver_order, |reply| {
            told("order", &reply.order_id, reply.version, reply.position)
        })
        .await
    }
}

impl Run for Cancel {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = CancelOrderRequest {
            request_id: self.change.write.request_id(),
            order_id: self.change.order_id,
            reason: self.reason,
            expected_version: self.change.expected_version,
            occurred_at: self.change.write.occurred_at,
        };
        execute(session, request, Client::cancel_order, |reply| {
            told("order", &reply.order_id, reply.version, reply.position)
        })
        .await
    }
}
