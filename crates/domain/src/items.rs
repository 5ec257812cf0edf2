//! The lines of an order: checks their rules and computes their total.

use std::ops::RangeInclusive;

use crate::money::{Amount, Currency};

/// Bounds the lines of an order.
pub const LINE_COUNT: RangeInclusive<usize> = 1..=1000;

/// Bounds the pieces of a line.
pub const QUANTITY: RangeInclusive<u32> = 1..=1_000_000;

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The product's id. The product need not be registered yet.
    pub product_id: String,
    /// The number of pieces, within [`QUANTITY`].
    pub quantity: u32,
    /// The price of one piece, zero or more.
    pub unit_price: Amount,
}

/// Checked lines in one currency, and their total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    lines: Vec<Item>,
    currency: Currency,
    total: Amount,
}

/// A rule that the lines of an order break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    /// The number of lines is not within [`LINE_COUNT`].
    #[error("must have 1 to 1000 entries")]
    Count,
    /// The quantity of the line with this index is not within [`QUANTITY`].
    #[error("must be 1 to 1,000,000")]
    Quantity(usize),
    /// The price of the line with this index is negative.
    #[error("must not be negative")]
    Price(usize),
    /// The amount of a line, or the total, does not fit into an [`Amount`].
    #[error("must have a total that fits into 64 bits at 4 decimals")]
    Total,
}

impl Items {
    /// Checks the rules of lines in one currency, and computes their total.
    ///
    /// # Errors
    /// Every rule that the lines break.
    pub fn new(lines: Vec<Item>, currency: Currency) -> Result<Self, Vec<BrokenRule>> {
        let mut broken = Vec::new();
        if !LINE_COUNT.contains(&lines.len()) {
            broken.push(BrokenRule::Count);
        }
        for (index, line) in lines.iter().enumerate() {
            if !QUANTITY.contains(&line.quantity) {
                broken.push(BrokenRule::Quantity(index));
            }
            if !line.unit_price.is_price() {
                broken.push(BrokenRule::Price(index));
            }
        }
        let total = Amount::sum(
            lines
                .iter()
                .map(|line| line.unit_price.times(line.quantity)),
        );
        match total {
            Some(total) if broken.is_empty() => Ok(Self {
                lines,
                currency,
                total,
            }),
            Some(_) => Err(broken),
            None => {
                broken.push(BrokenRule::Total);
                Err(broken)
            }
        }
    }

    /// Returns the lines in the order in which they were given.
    #[must_use]
    pub fn lines(&self) -> &[Item] {
        &self.lines
    }

    /// Returns the currency of all prices.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Returns the sum of all prices times their quantities.
    #[must_use]
    pub fn total(&self) -> Amount {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn euros() -> Currency {
        Currency::new("EUR").unwrap()
    }

    fn line(quantity: u32, price: i64) -> Item {
        Item {
            product_id: "p".into(),
            quantity,
            unit_price: Amount::new(price),
        }
    }

    #[test]
    fn order_has_1_to_1000_lines() {
        assert_eq!(Items::new(vec![], euros()), Err(vec![BrokenRule::Count]));
        assert!(Items::new(vec![line(1, 1); 1000], euros()).is_ok());
        assert_eq!(
            Items::new(vec![line(1, 1); 1001], euros()),
            Err(vec![BrokenRule::Count])
        );
    }

    #[test]
    fn every_broken_rule_is_named_with_its_line() {
        let lines = vec![line(0, 5), line(1, -1), line(1_000_001, 1)];
        let broken = vec![
            BrokenRule::Quantity(0),
            BrokenRule::Price(1),
            BrokenRule::Quantity(2),
        ];
        assert_eq!(Items::new(lines, euros()), Err(broken));
    }

    #[test]
    fn total_that_does_not_fit_is_rejected() {
        let most = i64::MAX;
        assert_eq!(
            Items::new(vec![line(1, most)], euros()).unwrap().total(),
            Amount::new(most)
        );
        assert_eq!(
            Items::new(vec![line(2, most)], euros()),
            Err(vec![BrokenRule::Total])
        );
        assert_eq!(
            Items::new(vec![line(1, most), line(1, 1)], euros()),
            Err(vec![BrokenRule::Total])
        );
    }

    proptest! {
        #[test]
        fn total_is_exact(lines in prop::collection::vec((1u32..=1_000_000, 0i64..=i64::MAX), 1..20)) {
            let exact: i128 = lines.iter().map(|(count, price)| i128::from(*count) * i128::from(*price)).sum();
            let items = Items::new(lines.iter().map(|(count, price)| line(*count, *price)).collect(), euros());
            match items {
                Ok(items) => prop_assert_eq!(i128::from(items.total().get()), exact),
                Err(broken) => {
                    prop_assert_eq!(broken, vec![BrokenRule::Total]);
                    prop_assert!(exact > i128::from(i64::MAX));
                }
            }
        }
    }
}
