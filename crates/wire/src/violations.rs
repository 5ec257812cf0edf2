//! Checks the fields of requests, and collects every violation for one error.

use contract::google::r#type::Money;
use domain::{id, money::Currency, text};
use prost_types::Timestamp;

use crate::{Error, convert};

/// A field of a request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `items[2].quantity`.
    pub field: String,
    /// The rule that the field breaks.
    pub rule: String,
}

/// Collects the violations of a request, so that one error names them all.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Adds a violation.
    pub fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            rule: rule.into(),
        });
    }

    /// Adds a violation unless `holds` is true.
    pub fn check(&mut self, holds: bool, field: impl Into<String>, rule: impl Into<String>) {
        if !holds {
            self.add(field, rule);
        }
    }

    /// Checks an id that a client gives.
    pub fn id(&mut self, field: impl Into<String>, value: &str) {
        self.check(id::is_valid(value), field, id::RULE);
    }

    /// Checks a required text: at most `max` characters, of which one can be seen.
    pub fn text(&mut self, field: &str, value: &str, max: usize) {
        let rule = "must not be empty: it needs a character that can be seen";
        self.check(text::is_visible(value), field, rule);
        self.at_most(field, value, max);
    }

    /// Checks a text: at most `max` characters, and no U+0000, which databases reject.
    pub fn at_most(&mut self, field: &str, value: &str, max: usize) {
        self.check(!value.contains('\0'), field, "must not contain U+0000");
        // A character has at least one byte, so that a text of at most `max` bytes needs no count.
        if value.len() > max && value.chars().count() > max {
            self.add(field, format!("must have at most {max} characters"));
        }
    }

    /// Checks a list: at most `max` entries.
    pub fn entries<T>(&mut self, field: &str, list: &[T], max: usize) {
        self.check(
            list.len() <= max,
            field,
            format!("must have at most {max} entries"),
        );
    }

    /// Checks a currency that a client may leave empty.
    pub fn optional_currency(&mut self, field: impl Into<String>, code: &str) {
        let holds = code.is_empty() || Currency::new(code).is_some();
        let rule = "must be empty or three capital letters, as in ISO 4217";
        self.check(holds, field, rule);
    }

    /// Converts money to units of 1/10,000. Adds a violation and returns `None` if the conversion
    /// fails.
    pub fn amount(&mut self, field: impl Into<String>, value: &Money) -> Option<i64> {
        let amount = convert::amount(value);
        self.check(
            amount.is_some(),
            field,
            "must be an amount with at most 4 decimals that fits into 64 bits with them",
        );
        amount
    }

    /// Converts a time to nanoseconds since 1970. Adds a violation and returns `None` if the
    /// conversion fails.
    pub fn time(&mut self, field: &str, value: &Timestamp) -> Option<i64> {
        let nanoseconds = convert::nanoseconds(value);
        self.check(
            nanoseconds.is_some(),
            field,
            "must be a time between 1678 and 2262",
        );
        nanoseconds
    }

    /// Returns the collected violations as one error.
    ///
    /// # Errors
    /// [`Error::InvalidFields`] with every violation, if there is one.
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidFields(self.0))
        }
    }
}
