//! Fuzzes page tokens as `SearchOrders` reads them. The first line is the token, and the rest is
//! the encoded request.

#![no_main]

use contract::orders::v1::SearchOrdersRequest;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use query_side::token;
use read_model::request::Cursor;
use wire::Error;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let text = parts.next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let Ok(request) = SearchOrdersRequest::decode(parts.next().unwrap_or_default()) else {
        return;
    };
    let fingerprint = token::fingerprint("log", None, &request);
    is_one_of_ours_or_refused(fingerprint, text);
    // The target replaces the fingerprint, because without a match no input would get further.
    let begin = text.get(..16).unwrap_or_default();
    if let Ok(fingerprint) = u64::from_str_radix(begin, 16)
        && let Some(cursor) = is_one_of_ours_or_refused(fingerprint, text)
    {
        goes_on_and_only_there(&request, cursor);
    }
});

/// Checks that every accepted text equals the token written from its cursor.
fn is_one_of_ours_or_refused(fingerprint: u64, text: &str) -> Option<Cursor> {
    match token::read(fingerprint, text) {
        Ok(None) => {
            assert_eq!(text, "");
            None
        }
        Ok(Some(cursor)) => {
            assert_eq!(token::write(fingerprint, cursor), text);
            Some(cursor)
        }
        Err(error) => {
            assert_eq!(error, Error::InvalidPageToken);
            None
        }
    }
}

/// Checks that a token accepts another page size and wait, and rejects another search.
fn goes_on_and_only_there(request: &SearchOrdersRequest, cursor: Cursor) {
    let text = token::write(token::fingerprint("log", None, request), cursor);
    let next = SearchOrdersRequest {
        page_token: text.clone(),
        page_size: request.page_size.wrapping_add(1),
        min_position: request.min_position.wrapping_add(1),
        max_wait: None,
        highlights: !request.highlights,
        ..request.clone()
    };
    assert_eq!(
        token::read(token::fingerprint("log", None, &next), &text),
        Ok(Some(cursor))
    );
    let other = SearchOrdersRequest {
        query: format!("{} tea", request.query),
        ..next
    };
    let refused = token::read(token::fingerprint("log", None, &other), &text);
    assert_eq!(refused, Err(Error::InvalidPageToken));
}
