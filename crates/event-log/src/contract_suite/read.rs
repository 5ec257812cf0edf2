//! Cases of reads: loads, pages, histories, upcasts and the inspection of rows.

use std::task::{Context, Waker};

use proptest::{prelude::*, strategy::ValueTree as _};
use test_support::DEADLINE;

use uuid::Uuid;

use super::*;

pub(crate) async fn g5_load_returns_the_replies_to_known_request_ids(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut batch = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    batch.requests = vec![
        request("new", PendingPosition::InBatch(1)),
        request("old", PendingPosition::Known(1.into())),
    ];
    append(&mut log, &batch).await;
    let mut log = reopen(fixture, log, SCHEMA).await;
    let ids = ["old", "new", "never"];
    let mut requests = log.appender.load(&[], &ids, false).await.unwrap().requests;
    requests.sort_by(|one, other| one.id.cmp(&other.id));
    let replies: Vec<_> = requests
        .iter()
        .map(|request| (&*request.id, request.version.get(), request.position.get()))
        .collect();
    assert_eq!(replies, [("new", 7, 2), ("old", 7, 1)]);
    assert_eq!(requests[0].fingerprint, [1, 2, 3]);
    assert_eq!(requests[0].aggregate_id, "a");
}

pub(crate) async fn g10_inspect_returns_valid_and_invalid_rows(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut unknown = event("a", 3, b"z");
    unknown.schema_version = 9;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"y"),
        event("a", 2, b"x"),
        unknown,
    ];
    append(&mut log, &batch(events)).await;

    let rows = log
        .reader
        .inspect(Position::START, 4.into(), 10)
        .await
        .unwrap();
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            let previous = row.previous.map(Position::get);
            (
                row.position.get(),
                &*row.aggregate.id,
                row.version.get(),
                previous,
            )
        })
        .collect();
    let expected = [
        (1, "a", 1, None),
        (2, "b", 1, None),
        (3, "a", 2, Some(1)),
        (4, "a", 3, Some(3)),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        rows[0].record,
        Ok(page(&log, 0, 1, 1).await.unwrap().records[0].clone())
    );
    assert!(rows[3].record.is_err(), "its schema version is unknown");
    let rows = log.reader.inspect(1.into(), 3.into(), 1).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].position.get(), 2);
}

pub(crate) async fn g10_requests_say_if_their_event_fits(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let mut batch = batch([event("a", 1, b"x"), event("a", 2, b"y")]);
    let fits = NewRequest {
        version: 2.into(),
        ..request("fits", PendingPosition::InBatch(1))
    };
    batch.requests = vec![fits, request("stray", PendingPosition::InBatch(0))];
    append(&mut log, &batch).await;

    let inspected = |id: &str, version: u64, position: u64, fits| InspectedRequest {
        id: id.into(),
        aggregate_id: "a".into(),
        version: version.into(),
        position: position.into(),
        fits,
    };
    let fits = inspected("fits", 2, 2, true);
    let stray = inspected("stray", 7, 1, false);
    let ids = ["stray".to_owned(), "never".to_owned()];
    let found = log.reader.requests(&ids).await.unwrap();
    assert_eq!(found, std::slice::from_ref(&stray));
    let first = log.reader.requests_after("", 1).await.unwrap();
    assert_eq!(first, [fits]);
    let second = log.reader.requests_after("fits", 10).await.unwrap();
    assert_eq!(second, [stray]);
}

pub(crate) async fn load_returns_all_events_of_an_aggregate_in_version_order(
    fixture: &dyn Fixture,
) {
    let mut log = fixture.open(SCHEMA).await;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"-"),
        event("a", 2, b"y"),
    ];
    append(&mut log, &batch(events)).await;
    let (a, none) = (aggregate("a"), aggregate("none"));
    let wanted = [all_of(&a), all_of(&none)];
    let loaded = log.appender.load(&wanted, &[], false).await.unwrap().events;
    let found: Vec<_> = loaded
        .iter()
        .map(|event| (event.version.get(), event.position.get()))
        .collect();
    assert_eq!(found, [(1, 1), (2, 3)]);
    let history = log.reader.history(1, "a").await.unwrap().records;
    assert_eq!(history, [&b"\x08\x01x"[..], b"\x08\x03y"]);
    assert_eq!(
        log.reader.history(2, "a").await.unwrap(),
        Page::default(),
        "another type"
    );
}

pub(crate) async fn g13_load_returns_the_newest_event_alone(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let events = [
        event("a", 1, b"x"),
        event("b", 1, b"-"),
        event("a", 2, b"y"),
        event("b", 2, b"-"),
        event("a", 3, b"z"),
    ];
    append(&mut log, &batch(events)).await;
    let newest_of = |aggregate| Needed {
        aggregate,
        newest_only: true,
    };
    let (a, b, none) = (aggregate("a"), aggregate("b"), aggregate("none"));
    let needed = [newest_of(&a), newest_of(&none), all_of(&b)];
    let loaded = log.appender.load(&needed, &[], false).await.unwrap().events;
    let mut found: Vec<_> = loaded
        .iter()
        .map(|event| (event.aggregate.id.as_str(), event.version.get()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [("a", 3), ("b", 1), ("b", 2)]);
}

pub(crate) async fn load_returns_an_event_of_an_unknown_schema_as_an_error(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let newer = NewEvent {
        schema_version: 2,
        ..event("a", 1, b"newer")
    };
    append(&mut log, &batch([newer, event("b", 1, b"x")])).await;
    let (a, b) = (aggregate("a"), aggregate("b"));
    let needed = [all_of(&a), all_of(&b)];
    let loaded = log.appender.load(&needed, &[], false).await.unwrap().events;
    for event in loaded {
        assert_eq!(event.record.is_ok(), event.aggregate == b, "{event:?}");
    }
}

pub(crate) async fn page_with_a_missing_position_is_damaged(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"x"), event("a", 2, b"y")])).await;
    fixture.execute(fixture.delete_first()).await.unwrap();
    let page = page(&log, 0, 2, 10).await;
    assert!(matches!(page, Err(Error::Damaged(_))), "{page:?}");
}

pub(crate) async fn every_read_upcasts_old_records(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, b"old")])).await;
    let newer = Schema {
        current: 2,
        upcast: |event_type, version, record| {
            let known = (event_type, version, record) == ("Happened", 1, &b"old"[..]);
            known.then(|| b"new".to_vec())
        },
    };
    let mut log = reopen(fixture, log, newer).await;
    let newer = NewEvent {
        schema_version: newer.current,
        ..event("a", 2, b"new too")
    };
    append(&mut log, &batch([newer])).await;
    let expected = [&b"\x08\x01new"[..], b"\x08\x02new too"];
    assert_eq!(records(&log, 0).await, expected);
    assert_eq!(log.reader.history(1, "a").await.unwrap().records, expected);
    let loaded = log
        .appender
        .load(&[all_of(&aggregate("a"))], &[], false)
        .await;
    assert_eq!(
        loaded
            .unwrap()
            .events
            .into_iter()
            .map(|event| event.record.unwrap())
            .collect::<Vec<_>>(),
        expected
    );

    let log = reopen(fixture, log, SCHEMA).await;
    let page = page(&log, 0, 2, 10).await;
    assert!(
        matches!(
            page,
            Err(Error::UnknownSchema {
                position,
                found: 2,
                ..
            }) if position == 2.into()
        ),
        "{page:?}"
    );
}

pub(crate) async fn log_keeps_its_id_after_a_restart(fixture: &dyn Fixture) {
    let log = fixture.open(SCHEMA).await;
    let id = log.reader.log_id().to_owned();
    assert!(!id.is_empty());
    let log = reopen(fixture, log, SCHEMA).await;
    assert_eq!(log.reader.log_id(), id);
}

pub(crate) async fn pages_of_any_size_return_the_appended_bytes(fixture: &dyn Fixture) {
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 100);
    let mut runner = proptest::test_runner::TestRunner::default();
    let records = records.new_tree(&mut runner).unwrap().current();
    let mut log = fixture.open(SCHEMA).await;
    let events = (1..)
        .zip(&records)
        .map(|(version, record)| event("a", version, record));
    append(&mut log, &batch(events)).await;
    for limit in [1, 2, 7, 99, 100, 1000] {
        let mut read: Vec<Vec<u8>> = Vec::new();
        loop {
            let page = page(&log, read.len() as u64, 1000, limit).await.unwrap();
            if page.records.is_empty() {
                break;
            }
            read.extend(page.records.iter().map(|record| record[2..].to_vec()));
        }
        assert_eq!(read, records, "{limit}");
    }
}

pub(crate) async fn g13_page_ends_at_its_bytes_and_has_an_event(fixture: &dyn Fixture) {
    let (small, half, larger) = (1000, MAX_PAGE_BYTES / 2, MAX_PAGE_BYTES + 1);
    let sizes = [
        small, small, half, half, larger, small, half, larger, larger,
    ];
    let mut log = fixture.open(SCHEMA).await;
    let events = (1..)
        .zip(sizes)
        .map(|(version, size)| event("a", version, &vec![7; size]));
    append(&mut log, &batch(events)).await;
    let mut pages = Vec::new();
    let mut after = 0;
    while after < sizes.len() as u64 {
        let page = page(&log, after, 1000, 1000).await.unwrap();
        assert_eq!(page.first.get(), after + 1);
        after += page.records.len() as u64;
        pages.push(page.records.len());
    }
    assert_eq!(pages, [3, 1, 1, 2, 1, 1]);
}

pub(crate) async fn g13_head_and_history_do_not_wait_for_pages(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    append(&mut log, &batch([event("a", 1, &vec![7; MAX_PAGE_BYTES])])).await;
    // Each page that has a connection keeps it, because nothing polls the page again. A page that
    // is read within its poll gives the connection back, so there are more pages.
    let mut pages: Vec<_> = (0..50)
        .map(|_| log.reader.page(Point::START, Position::MAX, 10))
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    for page in &mut pages {
        let _ = page.as_mut().poll(&mut context);
    }
    let short_reads = async {
        assert_eq!(log.reader.head().await.unwrap(), 1.into());
        let history = log.reader.history(1, "a").await.unwrap();
        assert_eq!(history.records.len(), 1);
    };
    tokio::time::timeout(DEADLINE, short_reads).await.unwrap();
}

pub(crate) async fn g12_page_follows_a_point_of_the_log_only(fixture: &dyn Fixture) {
    let mut log = fixture.open(SCHEMA).await;
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let events = [1, 2].map(|version| event("a", version, &identified(ids[version as usize - 1])));
    append(&mut log, &batch(events)).await;
    let at = |position: u64, event_id| Point {
        position: position.into(),
        event_id,
    };
    assert_eq!(point(&log, 1).await, at(1, ids[0]));
    assert_eq!(log.reader.point(3.into()).await.unwrap(), None);
    let page_after = async |after| {
        let page = log.reader.page(after, Position::MAX, 10).await;
        page.map(|page| page.records.len())
    };
    assert_eq!(page_after(Point::START).await.unwrap(), 2);
    assert_eq!(page_after(at(1, ids[0])).await.unwrap(), 1);
    assert_eq!(page_after(at(2, ids[1])).await.unwrap(), 0);
    for (position, event_id) in [(1, ids[1]), (2, ids[0]), (3, ids[1])] {
        let refused = page_after(at(position, event_id)).await;
        let Err(Error::Diverged { position: found }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(found.get(), position);
    }
}
