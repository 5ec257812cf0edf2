//! Digests of the indexed documents. The index stores no documents, so the digest alone shows
//! whether a document is the expected one.

use std::collections::BTreeMap;

use contract::orders::v1::Order;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::search::{Difference, Document};

/// Returns the first 8 bytes of the SHA-256 of the encoded order, as a number.
pub(super) fn digest(order: &Order) -> u64 {
    let digest = Sha256::digest(order.encode_to_vec());
    let bytes = digest.iter().take(8);
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Compares the rows and digests in the index with the expected documents.
pub(super) fn compare(there: Vec<(u64, u64)>, documents: &[Document]) -> Vec<Difference> {
    let mut left = BTreeMap::<u64, Vec<u64>>::new();
    for (row, digest) in there {
        left.entry(row).or_default().push(digest);
    }
    let mut differences = Vec::new();
    for Document { row, order } in documents {
        match left.remove(row) {
            None => differences.push(Difference::Missing(*row)),
            Some(digests) if digests != [digest(order)] => {
                differences.push(Difference::Other(*row));
            }
            Some(_) => {}
        }
    }
    differences.extend(left.into_keys().map(Difference::Extra));
    differences
}
