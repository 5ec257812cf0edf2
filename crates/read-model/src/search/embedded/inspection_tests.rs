//! Tests of the inspection: the postings or columns of an index are those of other orders.

use std::path::Path;

use contract::orders::v1::{
    AggregateType, CustomerRegistered, Order, OrderCreated, OrderCreatedItem, OrderShipped,
    OrderStatus, ProductRegistered, RecordedEvent, recorded_event::Payload,
};
use tantivy::TantivyDocument;
use tempfile::TempDir;
use tokio::sync::mpsc;
use wire::convert;

use super::TantivyIndex;
use super::digest::digest;
use super::schema::Fields;
use crate::postings;
use crate::search::contract_suite::{checkpoint, write};
use crate::search::{Document, Engine};
use crate::store::{Reader, Writer};

fn event(
    position: u64,
    kind: AggregateType,
    id: &str,
    version: u64,
    payload: Payload,
) -> RecordedEvent {
    RecordedEvent {
        position,
        aggregate_type: kind.into(),
        aggregate_id: id.into(),
        version,
        occurred_at: Some(convert::timestamp(7)),
        payload: Some(payload),
        ..RecordedEvent::default()
    }
}

/// Two orders, of which one is shipped. Names are in a script with spaces, and in one without.
fn events() -> Vec<RecordedEvent> {
    let created = || {
        let items = ["tea", "cake"].map(|product| OrderCreatedItem {
            product_id: product.into(),
            quantity: 1,
            unit_price: Some(convert::money(1, "EUR")),
        });
        Payload::OrderCreated(OrderCreated {
            customer_id: "ann".into(),
            items: items.into(),
            total_amount: Some(convert::money(2, "EUR")),
        })
    };
    let named = |name: &str| ProductRegistered { name: name.into() };
    let ann = CustomerRegistered {
        name: "Ann Lee 김철수".into(),
    };
    let shipped = OrderShipped {
        shipping_address: "12 Harbour Street, Münster".into(),
        tracking_number: "TRACK-4711".into(),
    };
    vec![
        event(1, AggregateType::Order, "o-1", 1, created()),
        event(2, AggregateType::Order, "o-2", 1, created()),
        event(
            3,
            AggregateType::Customer,
            "ann",
            1,
            Payload::CustomerRegistered(ann),
        ),
        event(
            4,
            AggregateType::Product,
            "tea",
            1,
            Payload::ProductRegistered(named("Green tea")),
        ),
        event(
            5,
            AggregateType::Product,
            "cake",
            1,
            Payload::ProductRegistered(named("Cheese cake")),
        ),
        event(
            6,
            AggregateType::Order,
            "o-1",
            2,
            Payload::OrderShipped(shipped),
        ),
    ]
}

/// The documents of [`events`].
struct Orders {
    _folder: TempDir,
    _writer: Writer,
    reader: Reader,
}

impl Orders {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&folder.path().join("read.db"), 1)
            .await
            .unwrap();
        let events = events();
        writer.apply("log", &events, 6).await.unwrap();
        Self {
            reader: writer.reader(1).await.unwrap(),
            _folder: folder,
            _writer: writer,
        }
    }

    async fn documents(&self) -> Vec<Document> {
        self.reader.orders_after(crate::Row(0), 10).await.unwrap().0
    }

    /// Inspects an index that has these documents, with the postings of others.
    async fn inspect(&self, documents: Vec<Document>, found_as: Vec<Document>) -> Vec<String> {
        let [folder, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fill(folder.path(), documents).await;
        fill(other.path(), found_as).await;
        postings::replace(folder.path(), other.path());
        let index = TantivyIndex::open(folder.path()).unwrap();
        assert!(
            index.checkpoint("log").await.unwrap().is_some(),
            "the index is emptied"
        );
        let (found, mut wrong) = mpsc::channel(100);
        index.inspect(&self.reader, found).await.unwrap();
        let mut told = Vec::new();
        while let Some(wrong) = wrong.recv().await {
            told.push(format!("{} {}", wrong.order_id, wrong.problem));
        }
        told
    }
}

async fn fill(folder: &Path, documents: Vec<Document>) {
    let index = TantivyIndex::open(folder).unwrap();
    write(&index, documents, checkpoint(6)).await;
}

#[tokio::test]
async fn g10_an_order_that_other_words_lead_to_is_named_with_a_word() {
    type Edit = fn(&mut Order);
    let edits: [(Edit, &str); 12] = [
        (|_| {}, ""),
        (
            |order| order.customer_name = "Ann".into(),
            r#"o-1 is not found by "lee" as its customer_name"#,
        ),
        (
            |order| order.customer_name.push_str(", Bob"),
            r#"o-1 is found by "bob" as its customer_name, which it does not have"#,
        ),
        (
            |order| order.items[0].product_name = "Green coffee".into(),
            r#"o-1 is not found by "tea" as its product_name, and is found by "coffee" as its product_name, which it does not have"#,
        ),
        (
            |order| order.shipping_address = "12 Street Harbour, Münster".into(),
            "o-1 is found by its words in another order than it has them",
        ),
        (
            |order| order.tracking_number = "TRACK-4712".into(),
            r#"o-1 is not found by "4711" as its tracking_number, and is found by "4712" as its tracking_number, which it does not have"#,
        ),
        (
            |order| order.order_id = "o-3".into(),
            r#"o-1 is not found by "1" as its order_id, and is found by "3" as its order_id, which it does not have"#,
        ),
        (
            |order| order.customer_id = "bob".into(),
            r#"o-1 is not found by "ann" as its customer_id, and is found by "bob" as its customer_id, which it does not have"#,
        ),
        (
            |order| order.set_status(OrderStatus::Created),
            r#"o-1 is not found by "ORDER_STATUS_SHIPPED" as its status, and is found by "ORDER_STATUS_CREATED" as its status, which it does not have"#,
        ),
        (
            |order| order.items.truncate(1),
            r#"o-1 is not found by "cake" as its product_name"#,
        ),
        (
            |order| order.total_amount = Some(convert::money(2, "USD")),
            r#"o-1 is not found by "EUR" as its currency_code, and is found by "USD" as its currency_code, which it does not have"#,
        ),
        (
            |order| order.customer_name = "Ann Lee 김철".into(),
            r#"o-1 is not found by "#,
        ),
    ];
    let orders = Orders::new().await;
    for (edit, expected) in edits {
        let documents = orders.documents().await;
        let mut found_as = documents.clone();
        edit(&mut found_as[0].order);
        let told = orders.inspect(documents, found_as).await.join(", ");
        assert!(told.starts_with(expected), "{expected}: {told}");
        assert_eq!(told.is_empty(), expected.is_empty(), "{told}");
    }
}

#[tokio::test]
async fn g10_an_order_of_another_row_is_named() {
    let orders = Orders::new().await;
    let documents = orders.documents().await;
    let mut found_as = documents.clone();
    found_as[0].row.0 = 9;
    let told = orders.inspect(documents, found_as).await;
    assert_eq!(
        told,
        ["o-1 is not found by 1 as its row, and is found by 9 as its row, which it does not have"]
    );
}

/// An order that has changed since is left to the comparison.
#[tokio::test]
async fn g10_an_order_that_the_index_has_in_another_state_is_not_inspected() {
    let orders = Orders::new().await;
    let mut older = orders.documents().await;
    older[0].order.version = 1;
    let mut found_as = older.clone();
    found_as[0].order.customer_name = "Bob".into();
    assert_eq!(orders.inspect(older, found_as).await, [""; 0]);
}

/// Returns the document of an order with the digest of another one.
fn with_digest_of(fields: &Fields, shown: &Document, other: &Order) -> TantivyDocument {
    let mut document = TantivyDocument::new();
    for (field, value) in fields.document(shown).field_values() {
        if field != fields.digest {
            document.add_field_value(field, value);
        }
    }
    document.add_u64(fields.digest, digest(other));
    document
}

#[tokio::test]
async fn g10_an_order_with_another_value_in_a_column_is_named() {
    type Edit = fn(&mut Order);
    let edits: [(usize, Edit, &str); 10] = [
        (
            0,
            |order| order.created_at = Some(convert::timestamp(8)),
            "created_at",
        ),
        (
            0,
            |order| order.updated_at = Some(convert::timestamp(8)),
            "updated_at",
        ),
        (
            0,
            |order| order.total_amount = Some(convert::money(3, "EUR")),
            "total_amount",
        ),
        (0, |order| order.set_status(OrderStatus::Created), "status"),
        (0, |order| order.customer_id = "bob".into(), "customer_id"),
        (0, |order| order.items.truncate(1), "product_id"),
        (0, |order| order.order_id = "o-2".into(), "order_id"),
        (0, |order| order.order_id = "o1".into(), "order_id"),
        (
            0,
            |order| order.tracking_number = "TRACK-4712".into(),
            "tracking_number",
        ),
        // The other order has no tracking number, and this one no words.
        (
            1,
            |order| order.tracking_number = "X1".into(),
            "tracking_number",
        ),
    ];
    let orders = Orders::new().await;
    for (place, edit, field) in edits {
        let document = orders.documents().await.remove(place);
        let mut shown = document.clone();
        edit(&mut shown.order);
        let folder = tempfile::tempdir().unwrap();
        let index = TantivyIndex::open(folder.path()).unwrap();
        let tampered = index.blocking(move |state| {
            let tampered = with_digest_of(&state.fields, &shown, &document.order);
            let slot = std::sync::Arc::clone(&state.writer).blocking_lock_owned();
            state.commit(slot, Some(&checkpoint(6)), |writer| {
                writer.add_document(tampered).map(|_| ())
            })
        });
        tampered.await.unwrap();
        let (found, mut wrong) = mpsc::channel(100);
        index.inspect(&orders.reader, found).await.unwrap();
        let wrong = wrong.recv().await.unwrap();
        assert_eq!(wrong.order_id, format!("o-{}", place + 1));
        assert_eq!(
            wrong.problem,
            format!("has another {field} in the search index")
        );
    }
}
