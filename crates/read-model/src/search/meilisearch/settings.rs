//! The settings of an index, on which the rules of searching depend.

use std::collections::BTreeMap;

use meilisearch_sdk::settings::{
    FacetSortValue, FacetingSettings, LocalizedAttributes, MinWordSizeForTypos, PaginationSetting,
    Settings, TypoToleranceSettings,
};

use super::stored::CHECKPOINT_FIELD;
use crate::{digest::digest64, projection::SCHEMA, request::MAX_FACET_VALUES};

/// The version of the documents in the index. Raise it with every change of [`super::document`], so
/// that every index is rebuilt.
const MAPPING_VERSION: u32 = 4;

/// Bounds a search in the server, in milliseconds, after which it returns a degraded result. The
/// bound is below the timeout of a search, so that a slow search still has an answer.
pub(super) const SEARCH_CUTOFF_MILLIS: u64 = 500;

/// Bounds the hits that pages can reach. The bound exceeds any number of orders; the server's
/// default is 1,000.
const MAX_TOTAL_HITS: usize = u32::MAX as usize;

/// The fields that are searched by words. A match in an earlier field ranks higher. Only the
/// checkpoint has the last one.
const SEARCHABLE_FIELDS: [&str; 6] = [
    "order_id",
    "tracking_number",
    "customer_name",
    "product_names",
    "shipping_address",
    CHECKPOINT_FIELD,
];

/// The fields of [`SEARCHABLE_FIELDS`] that hold ids, and so tolerate no typos.
const ID_FIELDS: [&str; 2] = ["order_id", "tracking_number"];

const FILTERABLE_FIELDS: [&str; 13] = [
    "row",
    "codes",
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

const SORTABLE_FIELDS: [&str; 8] = [
    CHECKPOINT_FIELD,
    "row",
    "created_high",
    "created_low",
    "updated_high",
    "updated_low",
    "total_high",
    "total_low",
];

/// The language of all texts, which keeps Meilisearch from splitting words. It would guess a language
/// for each text, and split the same word in different ways.
pub(super) const LOCALES: [&str; 1] = ["eng"];

/// The ranking rules. A requested sort order comes before all others, and equally good matches come
/// newest first.
const RANKING_RULES: [&str; 7] = [
    "sort",
    "words",
    "typo",
    "proximity",
    "attribute",
    "exactness",
    "row:desc",
];

/// Returns the settings, which an index receives before its first document.
///
/// Among facet values with equal counts Meilisearch omits arbitrary ones. So it returns 10 times as
/// many as an answer contains, and the first of them are used.
pub(super) fn settings() -> Settings {
    let by_count = BTreeMap::from([("*".to_owned(), FacetSortValue::Count)]);
    Settings::new()
        .with_searchable_attributes(SEARCHABLE_FIELDS)
        .with_filterable_attributes(FILTERABLE_FIELDS)
        .with_sortable_attributes(SORTABLE_FIELDS)
        .with_ranking_rules(RANKING_RULES)
        .with_typo_tolerance(TypoToleranceSettings {
            enabled: Some(true),
            disable_on_attributes: Some(ID_FIELDS.map(str::to_owned).to_vec()),
            disable_on_words: Some(Vec::new()),
            min_word_size_for_typos: Some(MinWordSizeForTypos {
                one_typo: Some(5),
                two_typos: Some(9),
            }),
            disable_on_numbers: None,
        })
        .with_pagination(PaginationSetting {
            max_total_hits: MAX_TOTAL_HITS,
        })
        .with_faceting(FacetingSettings {
            max_values_per_facet: 10 * MAX_FACET_VALUES,
            sort_facet_values_by: Some(by_count),
        })
        .with_localized_attributes([LocalizedAttributes {
            locales: LOCALES.map(str::to_owned).to_vec(),
            attribute_patterns: vec!["*".to_owned()],
        }])
        .with_search_cutoff(SEARCH_CUTOFF_MILLIS)
}

/// Returns a digest of the settings and of the versions of the documents.
pub(super) fn schema() -> Result<String, serde_json::Error> {
    // A `serde_json::Value` has its keys in a fixed order, so equal settings have equal text.
    let settings = serde_json::to_value(settings())?;
    let digest = digest64(format!("{MAPPING_VERSION} {SCHEMA} {settings}"));
    Ok(format!("{digest:016x}"))
}
