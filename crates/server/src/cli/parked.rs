//! `orderlog parked`: lists and retries parked orders.

use clap::{Args, Subcommand};
use contract::orders::v1::{
    ListParkedRequest, ListParkedResponse, ParkedAggregate, RetryParkedRequest,
    projection_service_client::ProjectionServiceClient,
};

use super::{
    Failure, Run, Session, money,
    table::{self, Column},
};

#[derive(Debug, Args)]
pub(super) struct Parked {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the orders, customers and products that are set aside, and why
    #[command(after_help = "Example:\n  orderlog parked list")]
    List(Which),
    /// Try again to project what is set aside
    #[command(
        after_help = "The exit code is 1 if some are set aside still.\n\nExamples:\n  \
                      orderlog parked retry\n  orderlog parked retry 42 43\n  \
                      orderlog parked retry --customer ann"
    )]
    Retry {
        #[command(flatten)]
        which: Which,
        /// The orders to try again [default: all that is set aside]
        #[arg(value_name = "ORDER_ID")]
        order_ids: Vec<String>,
        /// A customer to try again; may be given several times
        #[arg(long = "customer", value_name = "CUSTOMER_ID")]
        customer_ids: Vec<String>,
        /// A product to try again; may be given several times
        #[arg(long = "product", value_name = "PRODUCT_ID")]
        product_ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Only what this one has set aside: documents or search [default: both]
    #[arg(long, value_parser = ["documents", "search"])]
    projection: Option<String>,
}

impl Run for Parked {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut client = ProjectionServiceClient::new(session.connect().await?);
        match self.command {
            Command::List(which) => {
                let mut request = ListParkedRequest {
                    projection: which.projection.unwrap_or_default(),
                    page_size: 1000,
                    page_token: String::new(),
                };
                let mut all = ListParkedResponse::default();
                loop {
                    let page = client.list_parked(request.clone()).await?.into_inner();
                    all.parked.extend(page.parked);
                    request.page_token = page.next_page_token;
                    if request.page_token.is_empty() {
                        return session.show("ListParkedResponse", &all, text);
                    }
                }
            }
            Command::Retry {
                which,
                order_ids,
                customer_ids,
                product_ids,
            } => {
                let request = RetryParkedRequest {
                    projection: which.projection.unwrap_or_default(),
                    order_ids,
                    customer_ids,
                    product_ids,
                };
                let reply = client.retry_parked(request).await?.into_inner();
                session.show("RetryParkedResponse", &reply, |reply| {
                    let recovered = money::count(reply.recovered_count);
                    format!("recovered {recovered}, {} parked still", reply.parked_count)
                })?;
                match reply.parked_count {
                    0 => Ok(()),
                    _ => Err(Failure::Told),
                }
            }
        }
    }
}

fn text(all: &ListParkedResponse) -> String {
    if all.parked.is_empty() {
        return "nothing is parked".to_owned();
    }
    let rows = all.parked.iter().map(|parked| {
        [
            parked.projection.clone(),
            aggregate(parked),
            money::count(parked.position),
            money::count(parked.event_count),
            parked.error.clone(),
        ]
    });
    let columns = [
        Column::Text("PROJECTION"),
        Column::Text("AGGREGATE"),
        Column::Number("POSITION"),
        Column::Number("EVENTS"),
        Column::Text("ERROR"),
    ];
    table::of(columns, rows)
}

fn aggregate(parked: &ParkedAggregate) -> String {
    let ids = [
        ("order", &parked.order_id),
        ("customer", &parked.customer_id),
        ("product", &parked.product_id),
    ];
    let named = ids.into_iter().find(|(_, id)| !id.is_empty());
    named.map_or_else(String::new, |(kind, id)| format!("{kind} {id}"))
}
