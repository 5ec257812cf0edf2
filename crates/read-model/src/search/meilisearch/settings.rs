//! The settings of an index, without which its documents would not be found as they have to be.

use std::collections::BTreeMap;

use meilisearch_sdk::settings::{
    FacetSortValue, FacetingSettings, MinWordSizeForTypos, PaginationSetting, Settings,
    TypoToleranceSettings,
};
use sha2::{Digest as _, Sha256};

use crate::{projection::SCHEMA, request::FACET_VALUES};

/// What a document of the index is made of: whoever changes how [`super::document`] makes it
/// changes this number, and every index is made again.
const MAPPING: u32 = 1;

/// Milliseconds after which a search is cut off, and says so. Below the time that a search may take
/// as a whole, so that a slow one still has an answer.
const CUT_OFF: u64 = 500;

/// Hits that can be paged through: more than there ever are. The default is 1,000.
const MOST_HITS: usize = u32::MAX as usize;

/// The fields that words are looked up in, those first where a match is worth most.
const SEARCHED: [&str; 5] = [
    "order_id",
    "tracking_number",
    "customer_name",
    "product_names",
    "shipping_address",
];

/// The fields of [`SEARCHED`] that are looked up, not spelled.
const IDS: [&str; 2] = ["order_id", "tracking_number"];

const FILTERED: [&str; 12] = [
    "row",
    "order",
    "customer",
    "status",
    "products",
    "currency",
    "created_high",
    "created_low",
    "updated_high",
    "updated_low",
    "total_high",
    "total_low",
];

const SORTED: [&str; 7] = [
    "row",
    "created_high",
    "created_low",
    "updated_high",
    "updated_low",
    "total_high",
    "total_low",
];

/// An asked-for order goes before everything; of equally good matches the newest come first.
const RANKING: [&str; 7] = [
    "sort",
    "words",
    "typo",
    "proximity",
    "attribute",
    "exactness",
    "row:desc",
];

/// The settings that an index is given before its first document.
///
/// Of facet values with the same count Meilisearch leaves out any; so there are more than are told,
/// of which the first ones are taken.
pub(super) fn settings() -> Settings {
    let by_count = BTreeMap::from([("*".to_owned(), FacetSortValue::Count)]);
    Settings::new()
        .with_searchable_attributes(SEARCHED)
        .with_filterable_attributes(FILTERED)
        .with_sortable_attributes(SORTED)
        .with_ranking_rules(RANKING)
        .with_typo_tolerance(TypoToleranceSettings {
            enabled: Some(true),
            disable_on_attributes: Some(IDS.map(str::to_owned).to_vec()),
            disable_on_words: Some(Vec::new()),
            min_word_size_for_typos: Some(MinWordSizeForTypos {
                one_typo: Some(5),
                two_typos: Some(9),
            }),
            disable_on_numbers: None,
        })
        .with_pagination(PaginationSetting {
            max_total_hits: MOST_HITS,
        })
        .with_faceting(FacetingSettings {
            max_values_per_facet: 10 * FACET_VALUES,
            sort_facet_values_by: Some(by_count),
        })
        .with_search_cutoff(CUT_OFF)
}

/// What tells these settings and documents from those of another version: also what they are made of
/// is of some version.
pub(super) fn schema() -> Result<String, serde_json::Error> {
    // Through a map, whose keys have an order.
    let settings = serde_json::to_value(settings())?;
    let digest = Sha256::digest(format!("{MAPPING} {SCHEMA} {settings}"));
    Ok(digest.iter().take(8).map(|b| format!("{b:02x}")).collect())
}
