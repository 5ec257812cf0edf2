//! `orderlog customer`: registers customers and shows their statistics.

use clap::{Args, Subcommand};
use contract::orders::v1::{
    GetCustomerStatisticsRequest, RegisterCustomerRequest, query_service_client::QueryServiceClient,
};

use super::{
    Failure, Run, Session,
    freshness::Freshness,
    statistics::{Numbers, numbers},
    text::printable,
    write::{Client, Write, execute, told},
};

#[derive(Debug, Args)]
pub(super) struct Customer {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a customer's name known, or change it
    #[command(after_help = "Example:\n  orderlog customer register ALFKI 'Alfreds Futterkiste'")]
    Register(Register),
    /// Show what a customer ordered, in numbers
    #[command(after_help = "Example:\n  orderlog customer statistics ALFKI")]
    Statistics(Statistics),
}

#[derive(Debug, Args)]
struct Register {
    /// The customer's id
    customer_id: String,
    /// The customer's name
    name: String,
    /// Refuse unless the customer is at this version; 0 if it is not registered yet
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    #[command(flatten)]
    write: Write,
}

#[derive(Debug, Args)]
struct Statistics {
    /// The customer's id
    customer_id: String,
    #[command(flatten)]
    freshness: Freshness,
}

impl Run for Customer {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.command {
            Command::Register(register) => register.run(session).await,
            Command::Statistics(statistics) => statistics.run(session).await,
        }
    }
}

impl Run for Register {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = RegisterCustomerRequest {
            request_id: self.write.request_id(),
            customer_id: self.customer_id,
            name: self.name,
            expected_version: self.expected_version,
            occurred_at: self.write.occurred_at,
        };
        execute(session, request, Client::register_customer, |reply| {
            told(
                "customer",
                &reply.customer_id,
                reply.version,
                reply.position,
            )
        })
        .await
    }
}

impl Run for Statistics {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let channel = session.connect().await?;
        let request = GetCustomerStatisticsRequest {
            customer_id: self.customer_id,
            min_position: self.freshness.min_position(&channel).await?,
            max_wait: None,
        };
        let mut client = QueryServiceClient::new(channel);
        let reply = client.get_customer_statistics(request).await?.into_inner();
        session.show("GetCustomerStatisticsResponse", &reply, |reply| {
            let title = format!("customer {} {}", reply.customer_id, reply.customer_name);
            let numbers = numbers(&Numbers {
                orders: reply.total_orders,
                amounts: &reply.amounts,
                by_status: &reply.orders_by_status,
                parked: reply.parked_orders,
            });
            format!("{}\n{numbers}", printable(title.trim_end()))
        })
    }
}
