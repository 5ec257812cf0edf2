//! Digests of the indexed documents. The index stores no documents, so the digest alone shows
//! whether a document is the expected one.

use std::collections::BTreeMap;

use contract::orders::v1::Order;
use prost::Message as _;

use crate::{
    Row,
    digest::digest64,
    search::{Document, IndexDifference, differences},
};

/// Returns the digest of the encoded order.
pub(super) fn digest(order: &Order) -> u64 {
    digest64(order.encode_to_vec())
}

/// Compares the rows and digests in the index with the expected documents.
pub(super) fn compare(
    indexed: impl IntoIterator<Item = (Row, u64)>,
    documents: &[Document],
) -> Vec<IndexDifference> {
    let mut digests = BTreeMap::<Row, Vec<u64>>::new();
    for (row, digest) in indexed {
        digests.entry(row).or_default().push(digest);
    }
    differences(digests, documents, |digests, document| {
        *digests == [digest(&document.order)]
    })
}
