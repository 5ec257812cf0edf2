//! What a document was when it was indexed, in one number. Nothing is stored in the index, so this
//! is how it is told from what it should be.

use std::collections::BTreeMap;

use contract::orders::v1::Order;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::search::{Difference, Document};

/// The number of an order.
pub(super) fn digest(order: &Order) -> u64 {
    let digest = Sha256::digest(order.encode_to_vec());
    let bytes = digest.iter().take(8);
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What is there, as rows and numbers, compared with what should be.
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
