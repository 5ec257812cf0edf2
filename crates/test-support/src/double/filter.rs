//! Filters of Meilisearch, as far as orderlog writes them.

use std::{iter::Peekable, vec};

use serde_json::Value;

/// Conditions that are combined with AND and OR.
#[derive(Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    OneOf(String, Vec<String>),
    Compare(String, String, i128),
    Missing(String),
}

type Tokens = Peekable<vec::IntoIter<String>>;

impl Filter {
    /// Reads a filter; `None` if orderlog does not write such a one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::All(Vec::new()));
        }
        let tokens = split(text);
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
                    values.push(unquoted(&value));
                }
                tokens.next()?;
                Some(Self::OneOf(field, values))
            }
            "NOT" => (tokens.next()? == "EXISTS").then_some(Self::Missing(field)),
            operator => {
                let value = tokens.next()?;
                match value.strip_prefix('"') {
                    Some(_) if operator == "=" => Some(Self::OneOf(field, vec![unquoted(&value)])),
                    _ => Some(Self::Compare(
                        field,
                        operator.to_owned(),
                        value.parse().ok()?,
                    )),
                }
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
                let value = document[field].as_i64().map(i128::from);
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

/// Splits a filter into names, operators, signs and quoted texts.
fn split(text: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let mut is_quoted = false;
    let mut is_escaped = false;
    for next in text.chars() {
        let last = tokens.len() - 1;
        match next {
            '"' if !is_escaped => {
                is_quoted = !is_quoted;
                tokens[last].push(next);
            }
            _ if is_quoted => tokens[last].push(next),
            '(' | ')' | '[' | ']' => tokens.extend([next.to_string(), String::new()]),
            ',' | ' ' => tokens.push(String::new()),
            _ => tokens[last].push(next),
        }
        is_escaped = is_quoted && next == '\\' && !is_escaped;
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// Returns a quoted text without its quotes and escapes.
fn unquoted(token: &str) -> String {
    serde_json::from_str(token).unwrap_or_else(|_| token.to_owned())
}
