//! Filters of Meilisearch, as far as orderlog writes them.

use std::{iter::Peekable, vec};

use serde_json::Value;

/// Conditions that are combined with AND and OR.
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    OneOf(String, Vec<String>),
    Compare(String, String, i64),
    Missing(String),
}

type Tokens = Peekable<vec::IntoIter<String>>;

impl Filter {
    /// Reads a filter; `None` if orderlog does not write such a one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::All(Vec::new()));
        }
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let spaced = spaced
            .replace('[', " [ ")
            .replace(']', " ] ")
            .replace(',', " ");
        let tokens: Vec<_> = spaced.split_whitespace().map(str::to_owned).collect();
        let mut tokens = tokens.into_iter().peekable();
        let filter = Self::any(&mut tokens)?;
        tokens.next().is_none().then_some(filter)
    }

    fn any(tokens: &mut Tokens) -> Option<Self> {
        let mut parts = vec![Self::all(tokens)?];
        while tokens.next_if(|token| token == "OR").is_some() {
            parts.push(Self::all(tokens)?);
        }
        Some(Self::Any(parts))
    }

    fn all(tokens: &mut Tokens) -> Option<Self> {
        let mut parts = vec![Self::condition(tokens)?];
        while tokens.next_if(|token| token == "AND").is_some() {
            parts.push(Self::condition(tokens)?);
        }
        Some(Self::All(parts))
    }

    fn condition(tokens: &mut Tokens) -> Option<Self> {
        let field = tokens.next()?;
        if field == "(" {
            let inner = Self::any(tokens)?;
            return (tokens.next()? == ")").then_some(inner);
        }
        match tokens.next()?.as_str() {
            "IN" => {
                let mut values = Vec::new();
                tokens.next_if(|token| token == "[")?;
                while let Some(value) = tokens.next_if(|token| token != "]") {
                    values.push(value.trim_matches('"').to_owned());
                }
                tokens.next()?;
                Some(Self::OneOf(field, values))
            }
            "NOT" => (tokens.next()? == "EXISTS").then_some(Self::Missing(field)),
            operator => {
                let number = tokens.next()?.parse().ok()?;
                Some(Self::Compare(field, operator.to_owned(), number))
            }
        }
    }

    /// Returns whether a document passes.
    pub(super) fn passes(&self, document: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.passes(document)),
            Self::Any(parts) => parts.iter().any(|part| part.passes(document)),
            Self::Missing(field) => document[field].is_null(),
            Self::OneOf(field, values) => {
                let is_one = |value: &Value| {
                    let text = value.as_str();
                    text.is_some_and(|text| values.iter().any(|wanted| wanted == text))
                };
                match document[field].as_array() {
                    Some(list) => list.iter().any(is_one),
                    None => is_one(&document[field]),
                }
            }
            Self::Compare(field, operator, number) => {
                let value = document[field].as_i64();
                value.is_some_and(|value| match operator.as_str() {
                    "=" => value == *number,
                    "<" => value < *number,
                    "<=" => value <= *number,
                    ">" => value > *number,
                    ">=" => value >= *number,
                    other => panic!("the operator {other} is not known to the double"),
                })
            }
        }
    }
}
