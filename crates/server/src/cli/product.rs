//! `orderlog product`: registers products.

use clap::{Args, Subcommand};
use contract::orders::v1::RegisterProductRequest;

use super::{
    Failure, Run, Session,
    write::{Client, Write, execute, told},
};

#[derive(Debug, Args)]
pub(super) struct Product {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a product's name known, or change it
    #[command(after_help = "Example:\n  orderlog product register P1 Chai")]
    Register(Register),
}

#[derive(Debug, Args)]
struct Register {
    /// The product's id
    product_id: String,
    /// The product's name
    name: String,
    /// Refuse unless the product is at this version; 0 if it is not registered yet
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    #[command(flatten)]
    write: Write,
}

impl Run for Product {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let Command::Register(register) = self.command;
        let request = RegisterProductRequest {
            request_id: register.write.request_id(),
            product_id: register.product_id,
            name: register.name,
            expected_version: register.expected_version,
            occurred_at: register.write.occurred_at,
        };
        execute(session, request, Client::register_product, |reply| {
            told("product", &reply.product_id, reply.version, reply.position)
        })
        .await
    }
}
