use prost_types::Timestamp;

use crate::{Error, convert};

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's path in the request, such as `items[2].quantity`.
    pub field: String,
    /// The rule it breaks.
    pub rule: String,
}

/// Collects everything that is wrong with a request, so that the client learns it all at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Notes that a field breaks a rule.
    pub fn add(&mut self, field: impl Into<String>, rule: impl Into<String>) {
        self.0.push(Violation {
            field: field.into(),
            rule: rule.into(),
        });
    }

    /// Notes it unless `holds`.
    pub fn check(&mut self, holds: bool, field: impl Into<String>, rule: impl Into<String>) {
        if !holds {
            self.add(field, rule);
        }
    }

    /// An id as clients give them: `[A-Za-z0-9_-]{1,64}`.
    pub fn id(&mut self, field: impl Into<String>, value: &str) {
        let is_id = (1..=64).contains(&value.len())
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        self.check(is_id, field, "must match [A-Za-z0-9_-]{1,64}");
    }

    /// A required text of at most `most` characters, which is not only space.
    pub fn text(&mut self, field: &str, value: &str, most: usize) {
        self.check(!value.trim().is_empty(), field, "must not be empty");
        self.at_most(field, value, most);
    }

    /// A text of at most `most` characters, none of them U+0000, which databases do not take.
    pub fn at_most(&mut self, field: &str, value: &str, most: usize) {
        self.check(!value.contains('\0'), field, "must not contain U+0000");
        // A character is at most four bytes, at least one: short ones need no counting.
        if value.len() > most && value.chars().count() > most {
            self.add(field, format!("must have at most {most} characters"));
        }
    }

    /// A list of at most `most` entries.
    pub fn entries<T>(&mut self, field: &str, list: &[T], most: usize) {
        self.check(
            list.len() <= most,
            field,
            format!("must have at most {most} entries"),
        );
    }

    /// A time, in nanoseconds since 1970; a wrong one is noted, and `None` here.
    pub fn time(&mut self, field: &str, value: &Timestamp) -> Option<i64> {
        let nanoseconds = convert::nanoseconds(value);
        self.check(
            nanoseconds.is_some(),
            field,
            "must be a time between 1678 and 2262",
        );
        nanoseconds
    }

    /// The error that tells them all, if there is one to tell.
    ///
    /// # Errors
    /// [`Error::InvalidFields`].
    pub fn finish(self) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::InvalidFields(self.0))
        }
    }
}
