//! `orderlog order search`.

use clap::{ArgGroup, Args, ValueEnum};
use contract::orders::v1::{
    Facet, Order, OrderStatus, SearchOrdersRequest, SearchOrdersResponse,
    query_service_client::QueryServiceClient,
};
use prost_types::Timestamp;
use rust_decimal::Decimal;
use wire::Connection;

use super::{Status, read::named, status_name};
use crate::cli::{
    Failure, Run, Session,
    freshness::Freshness,
    money,
    table::{self, Column},
    time,
};

/// Limit of orders on a page, which the server enforces.
const MOST_PER_PAGE: u32 = 500;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("total").args(["min_total", "max_total"]).multiple(true))]
#[command(after_help = "Examples:\n  orderlog order search alfreds chai\n  \
                        orderlog order search --status created,shipped --from 2026-01-01 \
                        --order-by 'total_amount desc' --facet status")]
pub(super) struct Search {
    /// Words to find in order id, customer name, product names, address and tracking number
    query: Vec<String>,
    /// Only orders of this customer; may be repeated
    #[arg(long = "customer", value_name = "ID")]
    customers: Vec<String>,
    /// Only orders in these states
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',')]
    statuses: Vec<Status>,
    /// Only orders with this product; may be repeated
    #[arg(long = "product", value_name = "ID")]
    products: Vec<String>,
    /// Only orders created at this time (RFC 3339, or a date) or later
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    from: Option<Timestamp>,
    /// Only orders created before this time (RFC 3339, or a date)
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    to: Option<Timestamp>,
    /// Only orders with a total of at least this amount
    #[arg(long, value_name = "AMOUNT", value_parser = money::parse)]
    min_total: Option<Decimal>,
    /// Only orders with a total of at most this amount
    #[arg(long, value_name = "AMOUNT", value_parser = money::parse)]
    max_total: Option<Decimal>,
    /// The currency of --min-total and --max-total [default: any]
    #[arg(long, value_name = "CODE", requires = "total")]
    currency: Option<String>,
    /// created_at, updated_at or total_amount, for the largest first with ' desc' behind it
    /// [default: best matches first, without words 'created_at desc']
    #[arg(long, value_name = "ORDER")]
    order_by: Option<String>,
    /// Show at most this many orders
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Count the orders found by the values of this field; may be repeated
    #[arg(long = "facet", value_name = "FIELD")]
    facets: Vec<Field>,
    #[command(flatten)]
    freshness: Freshness,
}

/// A field that orders can be counted by.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Field {
    Status,
    #[value(name = "customer_id", alias = "customer")]
    Customer,
    #[value(name = "product_id", alias = "product")]
    Product,
}

impl Run for Search {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let limit = self.limit;
        let channel = session.connect().await?;
        let min_position = self.freshness.min_position(&channel).await?;
        let mut client = QueryServiceClient::new(channel);
        let found = pages(&mut client, self.request(min_position), limit).await?;
        session.show("SearchOrdersResponse", &found, text)
    }
}

impl Search {
    fn request(self, min_position: u64) -> SearchOrdersRequest {
        let currency = self.currency.unwrap_or_default();
        let amount = |total: Option<Decimal>| total.map(|total| money::of(total, &currency));
        let status = |status: Status| OrderStatus::from(status).into();
        let facet = |field| match field {
            Field::Status => "status".to_owned(),
            Field::Customer => "customer_id".to_owned(),
            Field::Product => "product_id".to_owned(),
        };
        SearchOrdersRequest {
            query: self.query.join(" "),
            customer_ids: self.customers,
            statuses: self.statuses.into_iter().map(status).collect(),
            product_ids: self.products,
            created_from: self.from,
            created_to: self.to,
            min_total: amount(self.min_total),
            max_total: amount(self.max_total),
            order_by: self.order_by.unwrap_or_default(),
            facets: self.facets.into_iter().map(facet).collect(),
            min_position,
            ..SearchOrdersRequest::default()
        }
    }
}

/// Returns the first `limit` orders as if they came on one page.
async fn pages(
    client: &mut QueryServiceClient<Connection>,
    mut request: SearchOrdersRequest,
    limit: u32,
) -> Result<SearchOrdersResponse, Failure> {
    let mut left = limit;
    let mut found: Option<SearchOrdersResponse> = None;
    loop {
        request.page_size = left.min(MOST_PER_PAGE);
        let page = client.search_orders(request.clone()).await?.into_inner();
        left = left.saturating_sub(u32::try_from(page.orders.len()).unwrap_or(u32::MAX));
        request.page_token.clone_from(&page.next_page_token);
        let all = match found {
            None => page,
            Some(mut all) => {
                all.orders.extend(page.orders);
                all.next_page_token = page.next_page_token;
                all.degraded |= page.degraded;
                all
            }
        };
        if left == 0 || all.next_page_token.is_empty() {
            return Ok(all);
        }
        found = Some(all);
    }
}

fn text(found: &SearchOrdersResponse) -> String {
    let count = format!(
        "{} of {} orders",
        money::count(found.orders.len() as u64),
        money::count(found.total_size)
    );
    let degraded = found
        .degraded
        .then(|| "the search engine ran out of time: there may be more".to_owned());
    [orders(&found.orders), count]
        .into_iter()
        .chain(degraded)
        .chain(found.facets.iter().map(facet))
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn orders(orders: &[Order]) -> String {
    let rows = orders.iter().map(|order| {
        [
            order.order_id.clone(),
            named(&order.customer_id, &order.customer_name),
            status_name(order.status()).to_owned(),
            money::text(order.total_amount.as_ref()),
            order.item_count.to_string(),
            time::text(order.created_at.as_ref()),
        ]
    });
    let columns = [
        Column::Text("ORDER"),
        Column::Text("CUSTOMER"),
        Column::Text("STATUS"),
        Column::Number("TOTAL"),
        Column::Number("ITEMS"),
        Column::Text("CREATED"),
    ];
    table::of(columns, rows)
}

fn facet(facet: &Facet) -> String {
    let rows = facet.values.iter().map(|value| {
        let name = match OrderStatus::from_str_name(&value.value) {
            Some(status) => status_name(status),
            None => &value.value,
        };
        [
            format!("{}: {name}", facet.field),
            money::count(value.count),
        ]
    });
    table::of([Column::Text("BY VALUE"), Column::Number("ORDERS")], rows)
}
