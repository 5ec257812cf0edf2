//! The contract of every search engine, as cases that each engine runs as its own tests.
//!
//! A test module calls `contract_suite!(fixture)` with an expression that creates a [`Fixture`].

mod beside;
mod facets;
mod filters;
mod pages;
mod words;
mod writes;

pub(crate) use self::{beside::*, facets::*, filters::*, pages::*, words::*, writes::*};

use contract::orders::v1::{Order, OrderItem, OrderStatus};
use wire::convert;

use super::{Beside, Checkpoint, Document, Engine, Hits, Live, Request};
use crate::request::Filter;

/// The storage of one index, empty at first.
#[async_trait::async_trait]
pub(crate) trait Fixture: Sync {
    /// Opens the index for writing. A drop and another open are a restart.
    async fn open(&self) -> Box<dyn Live>;
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
            every_word_must_be_found_in_whichever_field,
            better_matches_come_first,
            equally_good_matches_come_newest_first,
            a_query_without_words_finds_every_order,
            a_word_too_long_to_be_indexed_is_not_found,
            words_are_never_operators,
            pages_of_every_order_join_to_the_whole,
            pages_by_score_join_to_the_whole,
            the_last_page_may_be_full,
            pages_by_time_stay_right_while_orders_come,
            pages_by_score_stay_right_while_orders_come,
            each_filter_finds_what_it_says,
            filters_tell_ids_apart_that_differ_in_case_only,
            a_filter_of_anything_is_a_value,
            filters_combine_with_each_other_and_with_words,
            a_filter_does_not_change_which_match_is_better,
            facets_count_all_matches_whatever_the_page,
            facets_count_only_what_matches,
            a_product_on_two_lines_counts_once,
            facets_tell_the_largest_values_only,
            a_document_replaces_the_one_of_its_row,
            the_last_document_of_a_row_in_one_write_counts,
            an_empty_index_has_no_checkpoint,
            a_checkpoint_comes_back_as_it_was_written,
            g8_a_search_tells_the_checkpoint_of_what_it_searched,
            a_write_without_documents_moves_the_checkpoint,
            writes_that_are_under_way_together_are_applied_in_order,
            a_restart_finds_everything,
            clearing_empties_the_index_for_good,
            comparing_names_each_difference,
            g9_the_index_beside_takes_the_place_of_the_one_that_answers,
            g9_an_unfinished_index_is_gone_after_a_restart,
        }
    };
}
pub(crate) use contract_suite;

/// The cases of relevance and spelling that only the embedded engine passes.
macro_rules! spelling_suite {
    ($fixture:expr) => {
        $crate::search::contract_suite::cases! { $fixture;
            every_word_may_be_a_beginning,
            ids_and_words_with_digits_forgive_no_typo,
            matches_in_better_fields_come_first,
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
fn document(row: u64, fill: impl FnOnce(&mut Order)) -> Document {
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

fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint {
        log_id: "log".into(),
        position,
        answers: position,
        generation: 1,
    }
}

async fn filled(fixture: &dyn Fixture, documents: Vec<Document>) -> Box<dyn Live> {
    let engine = fixture.open().await;
    write(&*engine, documents, checkpoint(1)).await;
    engine
}

/// Requests every order, the best or newest first.
fn everything() -> Request {
    Request {
        query: String::new(),
        filter: Filter::default(),
        sort: None,
        after: None,
        limit: 1000,
        facets: Vec::new(),
        newest: u64::MAX,
    }
}

fn with_words(query: &str) -> Request {
    Request {
        query: query.into(),
        ..everything()
    }
}

async fn write(engine: &dyn Engine, documents: Vec<Document>, checkpoint: Checkpoint) {
    let applied = engine.write(documents, checkpoint).await.unwrap();
    applied.await.unwrap();
}

async fn search(engine: &dyn Engine, request: Request) -> Hits {
    engine.search(request).await.unwrap()
}

/// Returns the rows found for these words, the best first.
async fn found(engine: &dyn Engine, query: &str) -> Vec<u64> {
    let hits = search(engine, with_words(query)).await;
    assert_eq!(hits.total, hits.rows.len() as u64, "{query:?}");
    assert_eq!(hits.next, None, "{query:?}");
    hits.rows
}
