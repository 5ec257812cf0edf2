//! Checks the fields of requests, and collects every violation for one error.

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

    /// Checks an id that a client gives: `[A-Za-z0-9_-]{1,64}`.
    pub fn id(&mut self, field: impl Into<String>, value: &str) {
        let is_id = (1..=64).contains(&value.len())
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        self.check(is_id, field, "must match [A-Za-z0-9_-]{1,64}");
    }

    /// Checks a required text: at most `most` characters, and not only whitespace.
    pub fn text(&mut self, field: &str, value: &str, most: usize) {
        self.check(!value.trim().is_empty(), field, "must not be empty");
        self.at_most(field, value, most);
    }

    /// Checks a text: at most `most` characters, and no U+0000, which databases reject.
    pub fn at_most(&mut self, field: &str, value: &str, most: usize) {
        self.check(!value.contains('\0'), field, "must not contain U+0000");
        // A character has at least one byte, so that a text of at most `most` bytes needs no count.
        if value.len() > most && value.chars().count() > most {
            self.add(field, format!("must have at most {most} characters"));
        }
    }

    /// Checks a list: at most `most` entries.
    pub fn entries<T>(&mut self, field: &str, list: &[T], most: usize) {
        self.check(
            list.len() <= most,
            field,
            format!("must have at most {most} entries"),
        );
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
