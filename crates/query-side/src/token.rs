//! Page tokens. Each token of a search holds the end of a page and the fingerprint of its request. A
//! token of the statistics is the last day of a page.

use contract::orders::v1::{GetStatisticsRequest, SearchOrdersRequest};
use prost::Message as _;
use read_model::{digest::digest64, request::Cursor};
use wire::Error;

/// Returns a hash of the log, of the engine that finds the text, and of the request without page
/// size, page token, `min_position`, `max_wait` and `highlights`. Pages of one request share it. `engine` is `None`
/// for a request without text, which the documents answer.
#[must_use]
pub fn fingerprint(log_id: &str, engine: Option<&str>, request: &SearchOrdersRequest) -> u64 {
    let request = SearchOrdersRequest {
        page_size: 0,
        page_token: String::new(),
        min_position: 0,
        max_wait: None,
        highlights: false,
        ..request.clone()
    };
    let scope = format!("{log_id} {}\n", engine.unwrap_or_default());
    digest64([scope.into_bytes(), request.encode_to_vec()].concat())
}

/// Returns the token of a page that ends at `cursor`: three numbers of 16 hex digits each.
#[must_use]
pub fn write(fingerprint: u64, cursor: Cursor) -> String {
    format!(
        "{fingerprint:016x}{:016x}{:016x}",
        cursor.key.cast_unsigned(),
        cursor.row
    )
}

/// Returns the end of the page that a token belongs to, or `None` for an empty token.
///
/// # Errors
/// [`Error::InvalidPageToken`]: the token is malformed, or belongs to another request, log or engine.
pub fn read(fingerprint: u64, token: &str) -> Result<Option<Cursor>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = |index: usize| {
        let digits = token.get(index * 16..(index + 1) * 16)?;
        u64::from_str_radix(digits, 16).ok()
    };
    let cursor = number(1).zip(number(2)).map(|(key, row)| Cursor {
        key: key.cast_signed(),
        row,
    });
    cursor
        // Accepts only the exact text that `write` produces, so that each cursor has one token.
        .filter(|cursor| write(fingerprint, *cursor) == token)
        .map(Some)
        .ok_or(Error::InvalidPageToken)
}

/// Returns the day after which a page of the statistics begins, or an empty text for the first page.
///
/// # Errors
/// [`Error::InvalidPageToken`]: the token is no day, or the request asks for no days.
pub fn day(request: &GetStatisticsRequest) -> Result<&str, Error> {
    let token = request.page_token.as_str();
    let is_day = token.len() == 10
        && token.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if token.is_empty() || (request.by_day && is_day) {
        Ok(token)
    } else {
        Err(Error::InvalidPageToken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_returns_its_cursor_only_to_its_request(key: i64, row: u64, one: u64, other: u64) {
            let cursor = Cursor { key, row };
            let token = write(one, cursor);
            prop_assert_eq!(read(one, &token), Ok(Some(cursor)));
            if one != other {
                prop_assert_eq!(read(other, &token), Err(Error::InvalidPageToken));
            }
        }

        #[test]
        fn only_the_exact_text_of_a_token_is_accepted(request in "[0-9a-f]{16}", rest in "[0-9a-fA-F]{32}") {
            let fingerprint = u64::from_str_radix(&request, 16).unwrap();
            let token = format!("{request}{rest}");
            match read(fingerprint, &token) {
                Ok(cursor) => prop_assert_eq!(write(fingerprint, cursor.unwrap()), token),
                Err(_) => prop_assert_ne!(token.to_ascii_lowercase(), token),
            }
        }

        #[test]
        fn any_other_text_is_rejected(text in "\\PC+") {
            prop_assert_eq!(read(7, &text), Err(Error::InvalidPageToken));
        }
    }

    #[test]
    fn a_fingerprint_ignores_the_page_size_but_not_the_filter() {
        let request = SearchOrdersRequest {
            query: "tea".into(),
            ..Default::default()
        };
        let larger = SearchOrdersRequest {
            page_size: 500,
            min_position: 7,
            highlights: true,
            ..request.clone()
        };
        let of_log = |request| fingerprint("log", Some("embedded"), request);
        assert_eq!(of_log(&request), of_log(&larger));
        let other = SearchOrdersRequest {
            customer_ids: vec!["ann".into()],
            ..request.clone()
        };
        assert_ne!(of_log(&request), of_log(&other));
    }

    #[test]
    fn a_fingerprint_is_of_one_log_and_engine() {
        let request = SearchOrdersRequest::default();
        let scopes = [
            ("log", None),
            ("log", Some("embedded")),
            ("log", Some("meilisearch")),
            ("other", None),
            ("other", Some("embedded")),
        ];
        let fingerprints = scopes.map(|(log_id, engine)| fingerprint(log_id, engine, &request));
        assert_eq!(BTreeSet::from(fingerprints).len(), scopes.len());
    }
}
