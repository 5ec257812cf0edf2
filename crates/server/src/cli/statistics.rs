//! `orderlog statistics`: shows numbers and amounts of all orders.

use clap::Args;
use contract::orders::v1::{
    CurrencyAmounts, GetStatisticsRequest, GetStatisticsResponse, StatusCount,
    query_service_client::QueryServiceClient,
};

use super::{
    Failure, Run, Session,
    freshness::Freshness,
    money,
    order::status_name,
    table::{self, Column},
};

#[derive(Debug, Args)]
pub(super) struct Statistics {
    /// Also for each day, in UTC
    #[arg(long)]
    by_day: bool,
    #[command(flatten)]
    freshness: Freshness,
}

/// The count, amounts and statuses of some orders.
pub(super) struct Numbers<'a> {
    pub(super) orders: u64,
    pub(super) amounts: &'a [CurrencyAmounts],
    pub(super) by_status: &'a [StatusCount],
    /// Orders of which an event cannot be projected.
    pub(super) parked: u64,
}

impl Run for Statistics {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let channel = session.connect().await?;
        let mut request = GetStatisticsRequest {
            by_day: self.by_day,
            min_position: self.freshness.min_position(&channel).await?,
            ..GetStatisticsRequest::default()
        };
        let mut client = QueryServiceClient::new(channel);
        let mut reply = client.get_statistics(request.clone()).await?.into_inner();
        while !reply.next_page_token.is_empty() {
            request.page_token = reply.next_page_token;
            let page = client.get_statistics(request.clone()).await?.into_inner();
            reply.days.extend(page.days);
            reply.next_page_token = page.next_page_token;
        }
        session.show("GetStatisticsResponse", &reply, |reply| {
            let mut text = numbers(&Numbers {
                orders: reply.total_orders,
                amounts: &reply.amounts,
                by_status: &reply.orders_by_status,
                parked: reply.parked_orders,
            });
            if !reply.days.is_empty() {
                text = format!("{text}\n\n{}", days(reply));
            }
            text
        })
    }
}

/// Formats statistics as a table with one line for each figure.
pub(super) fn numbers(numbers: &Numbers<'_>) -> String {
    let row = |name: String, value: String| [name, value];
    let mut rows = vec![row("orders".into(), money::count(numbers.orders))];
    for entry in numbers.by_status {
        rows.push(row(
            format!("  {}", status_name(entry.status())),
            money::count(entry.count),
        ));
    }
    if numbers.parked > 0 {
        rows.push(row("parked orders".into(), money::count(numbers.parked)));
    }
    for entry in numbers.amounts {
        rows.push(row("total amount".into(), total(entry)));
        rows.push(row(
            "average order amount".into(),
            money::text(entry.average_order_amount.as_ref()),
        ));
    }
    table::of([Column::Text("FIGURE"), Column::Number("VALUE")], rows)
}

/// Formats the sum of a currency, which may have more units than the contract can say.
fn total(entry: &CurrencyAmounts) -> String {
    match (&entry.total_amount, &entry.average_order_amount) {
        (None, Some(average)) => {
            let most = money::count(i64::MAX.unsigned_abs());
            format!("over {most} {}", average.currency_code)
        }
        (total, _) => money::text(total.as_ref()),
    }
}

fn days(reply: &GetStatisticsResponse) -> String {
    let rows = reply.days.iter().map(|day| {
        let counts: Vec<_> = day
            .orders_by_status
            .iter()
            .map(|entry| {
                format!(
                    "{} {}",
                    money::count(entry.count),
                    status_name(entry.status())
                )
            })
            .collect();
        let totals: Vec<_> = day.amounts.iter().map(total).collect();
        [
            day.day.clone(),
            money::count(day.total_orders),
            totals.join(" + "),
            counts.join(", "),
        ]
    });
    let columns = [
        Column::Text("DAY"),
        Column::Number("ORDERS"),
        Column::Number("TOTAL"),
        Column::Text("STATUS"),
    ];
    table::of(columns, rows)
}
