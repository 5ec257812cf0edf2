//! Test cases that every store of the log must pass.
//!
//! `contract_suite!(fixture)` makes a test of each case. The expression `fixture` is evaluated for
//! each test, and returns a [`Fixture`]. With `, ignore = "reason"`, the tests are ignored by
//! default.

mod append;
mod read;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    Aggregate, Batch, Error, InspectedRequest, Loaded, Log, MAX_PAGE_BYTES, Needed, NewEvent,
    NewRequest, Page, PendingPosition, Point, Position, Schema,
};

pub(crate) const SCHEMA: Schema = Schema {
    current: 1,
    upcast: |_, _, _| None,
};

/// A place for one log, empty at first.
#[async_trait::async_trait]
pub(crate) trait Fixture: Sync {
    /// Opens the log. A test restarts a node by closing the appender and opening the log anew.
    async fn open(&self, schema: Schema) -> Log;

    /// Runs SQL on the store, without the log's code.
    async fn execute(&self, sql: &'static str) -> Result<(), sqlx::Error>;

    /// Returns SQL that deletes the event at position 1.
    fn delete_first(&self) -> &'static str;
}

pub(crate) use append::*;
pub(crate) use read::*;

macro_rules! contract_suite {
    ($fixture:expr $(, ignore = $needs:literal)?) => {
        contract_suite! { $fixture $(, ignore = $needs)?;
            g3_positions_are_dense_across_batches_and_restarts,
            g2_g3_failed_batch_leaves_no_row_and_no_hole,
            g4_append_rejects_a_version_that_exists,
            g5_load_returns_the_replies_to_known_request_ids,
            g5_append_rejects_a_request_id_that_exists,
            load_returns_all_events_of_an_aggregate_in_version_order,
            g13_load_returns_the_newest_event_alone,
            load_returns_an_event_of_an_unknown_schema_as_an_error,
            append_or_load_ends_an_exclusive_load,
            database_rejects_updates_and_deletes,
            page_with_a_missing_position_is_damaged,
            g10_inspect_returns_valid_and_invalid_rows,
            g10_requests_say_if_their_event_fits,
            every_read_upcasts_old_records,
            log_keeps_its_id_after_a_restart,
            append_takes_more_rows_than_one_statement_has_parameters_for,
            pages_of_any_size_return_the_appended_bytes,
            g13_page_ends_at_its_bytes_and_has_an_event,
            g12_page_follows_a_point_of_the_log_only,
            g12_append_returns_the_point_before_the_batch,
            g13_head_and_history_do_not_wait_for_pages,
        }
    };
    ($fixture:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::contract_suite::$case(&$fixture).await;
            }
        )*
    };
    ($fixture:expr, ignore = $needs:literal; $($case:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = $needs]
            async fn $case() {
                $crate::contract_suite::$case(&$fixture).await;
            }
        )*
    };
}
pub(crate) use contract_suite;

/// Returns what a load of all events of an aggregate takes.
fn all_of(aggregate: &Aggregate) -> Needed<'_> {
    Needed {
        aggregate,
        newest_only: false,
    }
}

async fn reopen(fixture: &dyn Fixture, log: Log, schema: Schema) -> Log {
    log.appender.close().await;
    drop(log.reader);
    fixture.open(schema).await
}

async fn page(log: &Log, after: u64, upto: u64, limit: usize) -> Result<Page, Error> {
    let after = point(log, after).await;
    log.reader.page(after, upto.into(), limit).await
}

/// Returns the log's point at a position.
async fn point(log: &Log, position: u64) -> Point {
    let point = log.reader.point(position.into()).await.unwrap();
    point.unwrap_or(Point::START)
}

pub(crate) async fn records(log: &Log, after: u64) -> Vec<Bytes> {
    let after = point(log, after).await;
    let page = log.reader.page(after, Position::MAX, 1000).await;
    page.unwrap().records
}

async fn head(log: &mut Log) -> u64 {
    log.appender.head().await.unwrap().get()
}

/// Appends a batch, and returns the position of its first event.
async fn append(log: &mut Log, batch: &Batch) -> u64 {
    let before = log.appender.append(batch).await.unwrap();
    (before.position + 1).get()
}

async fn assert_conflict(log: &mut Log, batch: &Batch) {
    let refused = log.appender.append(batch).await;
    assert!(matches!(refused, Err(Error::Conflict)), "{refused:?}");
}

fn aggregate(id: &str) -> Aggregate {
    Aggregate {
        kind: 1,
        id: id.into(),
    }
}

pub(crate) fn event(id: &str, version: u64, record: &[u8]) -> NewEvent {
    NewEvent {
        aggregate: aggregate(id),
        version: version.into(),
        event_type: "Happened".into(),
        schema_version: SCHEMA.current,
        record: record.into(),
    }
}

/// Returns a record with an event id.
fn identified(event_id: Uuid) -> Vec<u8> {
    let mut record = Vec::new();
    prost::encoding::string::encode(2, &event_id.to_string(), &mut record);
    record
}

/// Returns an event whose record has a new event id.
pub(crate) fn identified_event(id: &str, version: u64) -> NewEvent {
    event(id, version, &identified(Uuid::now_v7()))
}

pub(crate) fn batch(events: impl IntoIterator<Item = NewEvent>) -> Batch {
    Batch {
        events: events.into_iter().collect(),
        requests: vec![],
    }
}

pub(crate) fn request(id: &str, position: PendingPosition) -> NewRequest {
    NewRequest {
        id: id.into(),
        fingerprint: vec![1, 2, 3],
        aggregate_id: "a".into(),
        version: 7.into(),
        position,
    }
}
