//! Counts and sums of the folded orders, compared with the stored statistics.

use std::collections::BTreeMap;

use contract::orders::v1::{Order, OrderStatus};
use jiff::{Timestamp, tz::Offset};
use read_model::store::{Difference, StatisticsLine};
use wire::convert;

/// The number of orders and the sum of their totals, once as the orders are and once as stored. The
/// keys are the lines of the statistics: a day or all days, a currency and a status.
#[derive(Default)]
pub(super) struct Statistics(BTreeMap<(Option<String>, String, i32), Line>);

/// A number of orders, with the sum of their totals in units of 1/10,000.
type Figure = (i64, i128);

#[derive(Default)]
struct Line {
    counted: Figure,
    stored: Figure,
}

impl Statistics {
    /// Counts an order.
    pub(super) fn count(&mut self, order: &Order) {
        let total = order.total_amount.clone().unwrap_or_default();
        let amount = convert::amount(&total).unwrap_or(0);
        for day in [None, Some(day(order))] {
            let key = (day, total.currency_code.clone(), order.status);
            let (orders, sum) = &mut self.0.entry(key).or_default().counted;
            *orders += 1;
            *sum += i128::from(amount);
        }
    }

    /// Adds a stored line.
    pub(super) fn add(&mut self, line: StatisticsLine) {
        let key = (line.day, line.currency, line.status);
        self.0.entry(key).or_default().stored = (line.orders, line.sum);
    }

    /// Returns the lines that are not stored as counted.
    pub(super) fn differences(self) -> impl Iterator<Item = Difference> {
        let lines = self.0.into_iter();
        let wrong = lines.filter(|(_, line)| line.stored != line.counted);
        wrong.map(|((day, currency, status), Line { counted, stored })| {
            let subject = match day {
                Some(day) => format!("statistics of day {day}"),
                None => "statistics of all orders".to_owned(),
            };
            let status = match OrderStatus::try_from(status) {
                Ok(status) => status.as_str_name().trim_start_matches("ORDER_STATUS_"),
                Err(_) => "of a newer version",
            };
            let [stored, counted] = [stored, counted].map(|(orders, sum)| (orders, decimal(sum)));
            let problem = format!(
                "count {} orders of {} {currency} with status {status}, instead of {} of {}",
                stored.0, stored.1, counted.0, counted.1
            );
            Difference { subject, problem }
        })
    }
}

/// Returns the day of an order's creation, in UTC.
fn day(order: &Order) -> String {
    let created = order.created_at.as_ref().and_then(convert::nanoseconds);
    // A timestamp of jiff holds every number of nanoseconds in 64 bits.
    let created = Timestamp::from_nanosecond(created.unwrap_or(0).into()).unwrap_or_default();
    Offset::UTC.to_datetime(created).date().to_string()
}

/// Writes a sum in units of 1/10,000 as a decimal number with at least two decimals.
pub(super) fn decimal(sum: i128) -> String {
    let unit = u128::from(convert::UNIT.unsigned_abs());
    let (whole, rest) = (sum.unsigned_abs() / unit, sum.unsigned_abs() % unit);
    let sign = if sum < 0 { "-" } else { "" };
    let decimals = format!("{rest:04}");
    let decimals = decimals.strip_suffix("00").unwrap_or(&decimals);
    format!("{sign}{whole}.{decimals}")
}
