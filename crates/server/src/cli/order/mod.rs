//! `orderlog order`: creates, changes, shows and finds orders.

mod change;
mod create;
mod read;
mod search;

use clap::{Args, Subcommand, ValueEnum};
use contract::orders::v1::OrderStatus;

use super::{Failure, Run, Session};

#[derive(Debug, Args)]
pub(super) struct Order {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an order
    Create(create::Create),
    /// Ship a created order
    Ship(change::Ship),
    /// Mark a shipped order as delivered
    Deliver(change::Deliver),
    /// Cancel a created order
    Cancel(change::Cancel),
    /// Show an order
    Get(read::Get),
    /// Find orders
    Search(search::Search),
    /// Show all events of an order
    History(read::History),
}

impl Run for Order {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.command {
            Command::Create(create) => create.run(session).await,
            Command::Ship(ship) => ship.run(session).await,
            Command::Deliver(deliver) => deliver.run(session).await,
            Command::Cancel(cancel) => cancel.run(session).await,
            Command::Get(get) => get.run(session).await,
            Command::Search(search) => search.run(session).await,
            Command::History(history) => history.run(session).await,
        }
    }
}

/// A status as the user types it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Status {
    Created,
    Shipped,
    Delivered,
    Cancelled,
}

impl From<Status> for OrderStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Created => Self::Created,
            Status::Shipped => Self::Shipped,
            Status::Delivered => Self::Delivered,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

/// Returns the name of a status for people.
pub(super) fn status_name(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Unspecified => "unknown",
        OrderStatus::Created => "created",
        OrderStatus::Shipped => "shipped",
        OrderStatus::Delivered => "delivered",
        OrderStatus::Cancelled => "cancelled",
    }
}
