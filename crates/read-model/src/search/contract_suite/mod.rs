//! The contract of every search engine, as cases that each engine runs as its own tests.
//!
//! A test module calls `contract_suite!(fixture)` with an expression that creates a [`Fixture`].

mod differences;
mod facets;
mod filters;
mod generations;
mod pages;
mod scripts;
mod words;
mod writes;

pub(crate) use self::{
    differences::*, facets::*, filters::*, generations::*, pages::*, scripts::*, words::*,
    writes::*,
};

use contract::orders::v1::{Order, OrderItem, OrderStatus};
use wire::convert;

use super::{Document, Engine, Hits, IndexCheckpoint, LiveIndex, SearchRequest};
use crate::{Row, generations::NextGeneration, request::OrderFilter, store::ChangeCursor};

/// The storage of one index, empty at first.
#[async_trait::async_trait]
pub(crate) trait Fixture: Sync {
    /// Opens the index for writing. A drop and another open are a restart.
    async fn open(&self) -> Box<dyn LiveIndex>;
}

/// The cases that every engine passes.
macro_rules! contract_suite {
    ($fixture:expr $(, ignore = $needs:literal)?) => {
        $crate::search::contract_suite::cases! { $fixture $(, ignore = $needs)?;
            accents_case_and_unicode_form_do_not_matter,
            every_text_of_an_order_is_searched,
            an_order_is_found_while_a_word_is_being_typed,
            an_order_is_found_while_its_id_is_being_typed,
            one_typo_is_forgiven_from_five_letters_on,
            two_typos_are_forgiven_from_nine_letters_on,
            every_word_must_match_in_some_field,
            better_matches_come_first,
            equally_good_matches_come_newest_first,
            words_that_follow_each_other_come_first,
            a_text_without_letter_or_digit_finds_nothing,
            words_without_spaces_are_found_by_their_parts,
            words_without_spaces_are_found_whole_however_long,
            names_are_found_with_spaces_and_without,
            hangul_is_found_while_it_is_being_typed,
            hangul_forgives_a_wrong_letter,
            case_and_marks_do_not_matter_in_any_script,
            codes_are_found_with_separators_and_without,
            codes_are_found_in_any_groups,
            codes_in_texts_are_found_without_their_separators,
            signs_and_apostrophes_are_between_words,
            an_exact_id_comes_first,
            an_exact_id_comes_first_on_the_first_page_only,
            a_word_too_long_to_be_indexed_is_not_found,
            words_are_never_operators,
            pages_of_every_order_join_to_the_whole,
            pages_by_score_join_to_the_whole,
            the_last_page_may_be_full,
            pages_by_time_stay_right_while_orders_come,
            pages_by_score_stay_right_while_orders_come,
            pages_by_time_stay_right_while_orders_change,
            g13_a_page_may_end_at_any_hit,
            each_filter_matches_exactly_its_orders,
            filters_distinguish_ids_that_differ_only_in_case,
            a_filter_value_is_never_parsed_as_an_operator,
            filters_combine_with_each_other_and_with_words,
            a_filter_does_not_change_the_ranking,
            facets_count_all_matches_on_every_page,
            facets_count_only_what_matches,
            a_product_on_two_lines_counts_once,
            facets_contain_only_the_largest_values,
            a_document_replaces_the_one_of_its_row,
            the_last_document_of_a_row_in_one_write_counts,
            an_empty_index_has_no_checkpoint,
            a_checkpoint_comes_back_as_it_was_written,
            g8_a_search_returns_the_checkpoint_of_the_searched_state,
            a_write_without_documents_moves_the_checkpoint,
            overlapping_writes_are_applied_in_order,
            a_restart_finds_everything,
            clearing_empties_the_index_for_good,
            comparing_names_each_difference,
            g9_a_switch_replaces_the_live_generation_and_can_be_rolled_back,
            g9_an_unfinished_generation_is_removed_at_restart,
        }
    };
}
pub(crate) use contract_suite;

/// The cases of relevance and spelling that only the embedded engine passes.
macro_rules! spelling_suite {
    ($fixture:expr) => {
        $crate::search::contract_suite::cases! { $fixture;
            every_word_matches_as_a_prefix,
            a_beginning_forgives_typos_wherever_they_are,
            ids_and_words_with_digits_forgive_no_typo,
            matches_in_better_fields_come_first,
            the_rank_follows_the_contract,
            a_code_after_a_word_without_spaces_is_found_while_it_is_being_typed,
            pages_by_score_stay_right_while_orders_change,
        }
    };
}
pub(crate) use spelling_suite;

macro_rules! cases {
    ($fixture:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::search::contract_suite::$case(&$fixture).await;
            }
        )*
    };
    ($fixture:expr, ignore = $needs:literal; $($case:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = $needs]
            async fn $case() {
                $crate::search::contract_suite::$case(&$fixture).await;
            }
        )*
    };
}
pub(crate) use cases;

/// Creates an order in this row; its times and its total grow with the row.
pub(crate) fn document(row: u64, fill: impl FnOnce(&mut Order)) -> Document {
    let number = i64::try_from(row).unwrap();
    let mut order = Order {
        order_id: format!("q{row}"),
        customer_id: "anyone".into(),
        status: OrderStatus::Created.into(),
        total_amount: Some(convert::money(number * convert::UNIT, "EUR")),
        created_at: Some(convert::timestamp(number)),
        updated_at: Some(convert::timestamp(number)),
        ..Order::default()
    };
    fill(&mut order);
    let row = Row(row);
    Document { row, order }
}

fn customer(row: u64, name: &str) -> Document {
    document(row, |order| order.customer_name = name.into())
}

fn item(product_id: &str, product_name: &str) -> OrderItem {
    OrderItem {
        product_id: product_id.into(),
        product_name: product_name.into(),
        ..OrderItem::default()
    }
}

pub(crate) fn checkpoint(position: u64) -> IndexCheckpoint {
    IndexCheckpoint {
        log_id: "log".into(),
        history: "history".into(),
        read_position: position,
        event_id: format!("event-{position}"),
        position,
        answers: position,
        names: ChangeCursor::at(position),
        generation: 1,
    }
}

async fn filled(fixture: &dyn Fixture, documents: Vec<Document>) -> Box<dyn LiveIndex> {
    let engine = fixture.open().await;
    write(&*engine, documents, checkpoint(1)).await;
    engine
}

/// Requests every order, the best or newest first.
pub(crate) fn everything() -> SearchRequest {
    SearchRequest {
        query: String::new(),
        filter: OrderFilter::default(),
        sort: None,
        after: None,
        limit: 1000,
        facets: Vec::new(),
        newest: u64::MAX,
        timeout: std::time::Duration::from_secs(10),
    }
}

fn with_words(query: &str) -> SearchRequest {
    SearchRequest {
        query: query.into(),
        ..everything()
    }
}

pub(crate) async fn write(
    engine: &dyn Engine,
    documents: Vec<Document>,
    checkpoint: IndexCheckpoint,
) {
    let applied = engine.write(documents, checkpoint).await.unwrap();
    applied.await.unwrap();
}

async fn search(engine: &dyn Engine, request: SearchRequest) -> Hits {
    engine.search(request).await.unwrap()
}

/// Returns the rows found for these words, the best first.
async fn found(engine: &dyn Engine, query: &str) -> Vec<Row> {
    let hits = search(engine, with_words(query)).await;
    assert_eq!(hits.total, hits.hits.len() as u64, "{query:?}");
    assert!(!hits.more, "{query:?}");
    hits.rows()
}
