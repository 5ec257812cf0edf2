//! Counts and sums of orders: maintained as orders change, and returned in the contract's types.

use std::collections::BTreeMap;

use contract::{
    google::r#type::Money,
    orders::v1::{
        CurrencyAmounts, DayStatistics, GetCustomerStatisticsResponse, GetStatisticsResponse,
        Order, StatusCount,
    },
};
use futures_util::TryStreamExt as _;
use jiff::tz::Offset;
use wire::convert;

use super::{Error, Projection, Reader, list::scan, snapshot::Snapshot};
use crate::{Row, lists::Conditions};

/// Ends a page of days before the first day after this number of lines, so that many currencies
/// make no reply too large. A line has about 65 bytes in a reply.
const MAX_DAY_LINES: usize = 10_000;

/// A page of the statistics by day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayPage<'a> {
    /// Begins with the first day after this one, such as `2026-11-24`; empty for the first page.
    pub after: &'a str,
    /// Limits the number of days.
    pub limit: usize,
}

/// The set of orders that a line of the statistics counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    All = 0,
    Day = 2,
}

/// The key of one line of the statistics.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) scope: Scope,
    pub(super) subject: String,
    pub(super) currency: String,
    pub(super) status: i32,
}

/// A sum of amounts in two halves. SQL adds each half in 64 bits, with the carry of the lower one.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Sum {
    pub(super) high: i64,
    pub(super) low: i64,
}

impl Sum {
    /// Splits the sum of a batch, which is far below 2^95.
    fn split(amount: i128) -> Self {
        Self {
            high: (amount >> 32) as i64,
            low: (amount & 0xffff_ffff) as i64,
        }
    }

    pub(super) fn whole(self) -> i128 {
        (i128::from(self.high) << 32) + i128::from(self.low)
    }
}

/// The changes of a batch to the statistics.
#[derive(Debug, Default)]
pub(super) struct Deltas(BTreeMap<Key, (i64, i128)>);

impl Deltas {
    /// Counts an order.
    pub(super) fn add(&mut self, order: &Order) {
        self.count(order, 1);
    }

    /// Subtracts an order in its old state.
    pub(super) fn remove(&mut self, order: &Order) {
        self.count(order, -1);
    }

    fn count(&mut self, order: &Order, sign: i64) {
        let total = order.total_amount.clone().unwrap_or_default();
        let amount = convert::amount(&total).unwrap_or(0);
        let subjects = [(Scope::All, String::new()), (Scope::Day, day(order))];
        for (scope, subject) in subjects {
            let key = Key {
                scope,
                subject,
                currency: total.currency_code.clone(),
                status: order.status,
            };
            let (orders, sum) = self.0.entry(key).or_default();
            *orders += sign;
            *sum += i128::from(amount) * i128::from(sign);
        }
    }

    /// Returns the lines that change.
    pub(super) fn into_changes(self) -> impl Iterator<Item = (Key, i64, Sum)> {
        self.0
            .into_iter()
            .filter(|(_, delta)| *delta != (0, 0))
            .map(|(key, (orders, sum))| (key, orders, Sum::split(sum)))
    }
}

/// Returns the day of an order's creation, in UTC.
fn day(order: &Order) -> String {
    let created = order.created_at.as_ref().and_then(convert::nanoseconds);
    // A jiff timestamp holds every number of nanoseconds in 64 bits.
    let created = jiff::Timestamp::from_nanosecond(created.unwrap_or(0).into());
    Offset::UTC
        .to_datetime(created.unwrap_or_default())
        .date()
        .to_string()
}

#[derive(sqlx::FromRow)]
struct Line {
    subject: String,
    currency: String,
    status: i32,
    orders: i64,
    #[sqlx(flatten)]
    sum: Sum,
}

/// The sums of several lines.
#[derive(Default)]
struct Figures {
    total_orders: u64,
    amounts: BTreeMap<String, (u64, i128)>,
    by_status: BTreeMap<i32, u64>,
}

impl Figures {
    fn add_line(&mut self, line: Line) {
        let orders = line.orders.cast_unsigned();
        self.add(line.currency, line.status, orders, line.sum.whole());
    }

    fn add(&mut self, currency: String, status: i32, orders: u64, amount: i128) {
        self.total_orders += orders;
        let (count, sum) = self.amounts.entry(currency).or_default();
        *count += orders;
        *sum += amount;
        *self.by_status.entry(status).or_default() += orders;
    }

    fn amounts(&self) -> Vec<CurrencyAmounts> {
        self.amounts
            .iter()
            .map(|(currency, (count, sum))| CurrencyAmounts {
                total_amount: money(*sum, currency),
                average_order_amount: money(average(*sum, *count), currency),
            })
            .collect()
    }

    fn by_status(&self) -> Vec<StatusCount> {
        let counts = self.by_status.iter();
        counts
            .map(|(&status, &count)| StatusCount { status, count })
            .collect()
    }
}

/// Divides with rounding half to even. `count` must be at least 1.
fn average(sum: i128, count: u64) -> i128 {
    let count = i128::from(count);
    let (floor, rest) = (sum.div_euclid(count), sum.rem_euclid(count));
    let up = match (2 * rest).cmp(&count) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    floor + i128::from(up)
}

/// Converts a sum, which can exceed the range of [`convert::money`]. Returns `None` if it exceeds the
/// contract's money type.
fn money(sum: i128, currency: &str) -> Option<Money> {
    let unit = i128::from(convert::UNIT);
    let units = i64::try_from(sum / unit).ok()?;
    // The remainder is below one unit, so it fits in 64 bits.
    let rest = convert::money((sum % unit) as i64, currency);
    Some(Money { units, ..rest })
}

/// Reads the statistics of all orders.
async fn lines(snapshot: &mut Snapshot) -> Result<Vec<Line>, Error> {
    Ok(sqlx::query_as(
        "SELECT subject, currency, status, orders, high, low FROM statistics \
         WHERE scope = ?1 AND subject = '' AND orders <> 0",
    )
    .bind(Scope::All as i64)
    .fetch_all(snapshot.connection())
    .await?)
}

/// Returns the number of parked orders.
async fn parked_orders(snapshot: &mut Snapshot) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM parked WHERE projection = ? AND aggregate_type = 1",
    )
    .bind(Projection::Documents.name())
    .fetch_one(snapshot.connection())
    .await?;
    Ok(count.cast_unsigned())
}

/// Returns the rows of the parked orders that have a document.
async fn parked_rows(snapshot: &mut Snapshot) -> Result<Vec<Row>, Error> {
    Ok(sqlx::query_scalar(
        "SELECT row FROM parked CROSS JOIN orders ON order_id = aggregate_id \
         WHERE projection = ? AND aggregate_type = 1 ORDER BY row",
    )
    .bind(Projection::Documents.name())
    .fetch_all(snapshot.connection())
    .await?)
}

fn figures(lines: Vec<Line>) -> Figures {
    let mut figures = Figures::default();
    for line in lines {
        figures.add_line(line);
    }
    figures
}

impl DayPage<'_> {
    /// Reads the days, and returns whether more follow.
    async fn read(self, snapshot: &mut Snapshot) -> Result<(Vec<DayStatistics>, bool), Error> {
        let mut lines = sqlx::query_as::<_, Line>(
            "SELECT subject, currency, status, orders, high, low FROM statistics \
             WHERE scope = ?1 AND subject > ?2 AND orders <> 0 \
             ORDER BY scope, subject, currency, status",
        )
        .bind(Scope::Day as i64)
        .bind(self.after)
        .fetch(snapshot.connection());
        let mut days = Vec::<(String, Figures)>::new();
        let (mut read, mut more) = (0, false);
        while let Some(mut line) = lines.try_next().await? {
            if days.last().is_none_or(|(day, _)| *day != line.subject) {
                more = days.len() == self.limit || read >= MAX_DAY_LINES;
                if more {
                    break;
                }
                days.push((std::mem::take(&mut line.subject), Figures::default()));
            }
            if let Some((_, figures)) = days.last_mut() {
                figures.add_line(line);
            }
            read += 1;
        }
        let days = days.into_iter().map(|(day, figures)| DayStatistics {
            day,
            total_orders: figures.total_orders,
            amounts: figures.amounts(),
            orders_by_status: figures.by_status(),
        });
        Ok((days.collect(), more))
    }
}

impl Reader {
    /// Returns the statistics of a customer; `None` if the customer is unregistered and has no
    /// orders.
    ///
    /// Omits statuses without orders, and sorts the others by [`OrderStatus`].
    ///
    /// [`OrderStatus`]: contract::orders::v1::OrderStatus
    ///
    /// # Errors
    /// - [`Error::Sqlite`] or [`Error::Lists`]: the file or the index of lists cannot be read.
    /// - [`Error::Unlisted`]: the index of lists is being filled.
    pub async fn customer_statistics(
        &self,
        customer_id: &str,
    ) -> Result<Option<GetCustomerStatisticsResponse>, Error> {
        let (mut snapshot, view) = self.snapshot_with_lists().await?;
        let known: Option<(i64, Option<String>)> =
            sqlx::query_as("SELECT number, name FROM customers WHERE customer_id = ?")
                .bind(customer_id)
                .fetch_optional(snapshot.connection())
                .await?;
        let Some((number, name)) = known else {
            return Ok(None);
        };
        let of_customer = Conditions {
            customers: Some(vec![number.cast_unsigned()]),
            ..Conditions::default()
        };
        let parked = Conditions {
            rows: Some(parked_rows(&mut snapshot).await?),
            ..of_customer.clone()
        };
        // Other reads need the connection meanwhile.
        let as_of_position = snapshot.as_of;
        drop(snapshot);
        let figures = scan(view, move |view, caller| {
            let all = view.figure(&of_customer, caller)?;
            Ok((all, view.figure(&parked, caller)?))
        });
        let (all, parked) = figures.await?;
        let mut figures = Figures::default();
        for ((currency, status), (orders, sum)) in all {
            figures.add(currency, status, orders, sum);
        }
        if name.is_none() && figures.total_orders == 0 {
            return Ok(None);
        }
        Ok(Some(GetCustomerStatisticsResponse {
            parked_orders: parked.values().map(|(orders, _)| orders).sum(),
            customer_id: customer_id.to_owned(),
            customer_name: name.unwrap_or_default(),
            total_orders: figures.total_orders,
            amounts: figures.amounts(),
            orders_by_status: figures.by_status(),
            as_of_position,
        }))
    }

    /// Returns the statistics of all orders. With `days`, adds those of each day of creation (in
    /// UTC) that has orders, oldest first. If more days follow, `next_page_token` is the last one.
    ///
    /// Omits statuses without orders, and sorts the others by [`OrderStatus`].
    ///
    /// [`OrderStatus`]: contract::orders::v1::OrderStatus
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: the file cannot be read.
    pub async fn statistics(
        &self,
        days: Option<DayPage<'_>>,
    ) -> Result<GetStatisticsResponse, Error> {
        let mut snapshot = self.snapshot().await?;
        let all = figures(lines(&mut snapshot).await?);
        let (days, more) = match days {
            Some(page) => page.read(&mut snapshot).await?,
            None => (Vec::new(), false),
        };
        let parked_orders = parked_orders(&mut snapshot).await?;
        let last = days.last().filter(|_| more);
        let next_page_token = last.map(|last| last.day.clone());
        Ok(GetStatisticsResponse {
            parked_orders,
            total_orders: all.total_orders,
            amounts: all.amounts(),
            orders_by_status: all.by_status(),
            days,
            as_of_position: snapshot.as_of,
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }
}
