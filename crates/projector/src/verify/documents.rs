//! Compares the contents of a documents file with a fold of the log, aggregate by aggregate.

use std::{collections::HashMap, io};

use contract::{google::r#type::Money, orders::v1::Order};
use prost::Message as _;
use read_model::{AggregateId, store::Difference};
use wire::convert;

use super::{
    fold::{Fold, GivenName, sum_of_items},
    record::{Content, Document},
    spill::Records,
    statistics::{Statistics, decimal},
};

/// Everything about one aggregate.
#[derive(Default)]
struct Compared {
    fold: Fold,
    document: Option<Document>,
    name: Option<GivenName>,
    parked: Option<String>,
}

/// Compares the aggregates of one file of records, counts their orders, and reports the differences.
///
/// # Errors
/// An error of `report`, or one of the file.
pub(super) fn compare<E: From<io::Error>>(
    records: Records,
    statistics: &mut Statistics,
    report: &mut impl FnMut(Difference) -> Result<(), E>,
) -> Result<(), E> {
    let mut all = HashMap::<AggregateId, Compared>::new();
    for record in records {
        let (aggregate, content) = record?.into_aggregate();
        let compared = all.entry(aggregate).or_default();
        match content {
            Some(Content::Event(event)) => compared.fold.add(*event),
            Some(Content::Document(document)) => compared.document = Some(document),
            Some(Content::Name(name)) => {
                let (text, position) = (name.text, name.position);
                compared.name = Some(GivenName { text, position });
            }
            Some(Content::Parked(error)) => compared.parked = Some(error),
            None => {}
        }
    }
    for (aggregate, compared) in all {
        for problem in compared.problems(statistics) {
            let subject = aggregate.to_string();
            report(Difference { subject, problem })?;
        }
    }
    Ok(())
}

impl Compared {
    /// Counts the order, and returns what is wrong with the aggregate.
    fn problems(self, statistics: &mut Statistics) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(fault) = &self.fold.fault
            && self.parked.is_none()
        {
            problems.push(format!("is not parked, although {fault}"));
        }
        if self.fold.fault.is_none() && self.parked.is_some() {
            problems.push("is parked, and could be projected".to_owned());
        }
        problems.extend(different_name(self.name, self.fold.name));
        let should = self.fold.order.map(|order| (order.row, order.document()));
        if let Some((_, order)) = &should {
            statistics.count(order);
        }
        problems.extend(match (self.document, should) {
            (None, None) => None,
            (None, Some(_)) => Some("is missing".to_owned()),
            (Some(_), None) => Some("is not in the log".to_owned()),
            (Some(is), Some((row, should))) => different_document(&is, row, &should),
        });
        problems
    }
}

fn different_name(is: Option<GivenName>, should: Option<GivenName>) -> Option<String> {
    let described = |name: &GivenName| format!("{} since event {}", name.text, name.position);
    match (is, should) {
        (is, should) if is == should => None,
        (Some(_), None) => Some("is not in the log".to_owned()),
        (None, Some(should)) => Some(format!("has no name, instead of {}", described(&should))),
        (Some(is), Some(should)) => {
            let (is, should) = (described(&is), described(&should));
            Some(format!("is called {is}, instead of {should}"))
        }
        (None, None) => None,
    }
}

fn different_document(stored: &Document, row: u64, should: &Order) -> Option<String> {
    let Ok(is) = Order::decode(&*stored.body) else {
        return Some("cannot be decoded".to_owned());
    };
    if is != *should {
        return Some(format!("is wrong in {}", wrong_fields(&is, should)));
    }
    if (stored.row, stored.position) != (row, is.position) {
        return Some("is found by something else than it shows".to_owned());
    }
    different_total(&is)
}

/// Compares the total of an order with its items.
fn different_total(order: &Order) -> Option<String> {
    let (total, sum) = (order.total_amount.as_ref()?, sum_of_items(order));
    if sum.as_ref() == Some(total) {
        return None;
    }
    let told = |money: &Money| {
        let amount = convert::amount(money).unwrap_or(0);
        format!("{} {}", decimal(amount.into()), money.currency_code)
    };
    let items = sum.as_ref().map_or("other currencies".to_owned(), told);
    Some(format!(
        "has a total of {}, and items of {items}",
        told(total)
    ))
}

/// Names the fields in which a stored document is wrong.
fn wrong_fields(is: &Order, should: &Order) -> String {
    let fields = [
        ("order_id", is.order_id != should.order_id),
        ("customer_id", is.customer_id != should.customer_id),
        ("customer_name", is.customer_name != should.customer_name),
        ("status", is.status != should.status),
        ("items", is.items != should.items),
        ("total_amount", is.total_amount != should.total_amount),
        ("item_count", is.item_count != should.item_count),
        (
            "shipping_address",
            is.shipping_address != should.shipping_address,
        ),
        (
            "tracking_number",
            is.tracking_number != should.tracking_number,
        ),
        (
            "cancellation_reason",
            is.cancellation_reason != should.cancellation_reason,
        ),
        ("created_at", is.created_at != should.created_at),
        ("updated_at", is.updated_at != should.updated_at),
        ("shipped_at", is.shipped_at != should.shipped_at),
        ("delivered_at", is.delivered_at != should.delivered_at),
        ("cancelled_at", is.cancelled_at != should.cancelled_at),
        ("version", is.version != should.version),
        ("position", is.position != should.position),
    ];
    let wrong = fields.into_iter().filter(|(_, differs)| *differs);
    let wrong: Vec<_> = wrong.map(|(name, _)| name).collect();
    wrong.join(", ")
}
