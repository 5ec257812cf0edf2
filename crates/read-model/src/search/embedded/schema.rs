//! The fields of the index, and their values in an order. The index stores no documents: a hit is a
//! row.

use std::collections::BTreeSet;

use contract::orders::v1::Order;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{TantivyDocument, Term};
use wire::convert;

use super::analyzer::{ID_ANALYZER, TEXT_ANALYZER, code};
use super::digest::digest;
use crate::Row;
use crate::columns::ordered;
use crate::request::{FacetField, SortField};
use crate::search::Document;

/// The column of the rows.
pub(super) const ROW_COLUMN: &str = "row";

/// The column of the digests.
pub(super) const DIGEST_COLUMN: &str = "digest";

/// The columns of ids: of their words, and without separators.
pub(super) const ORDER_ID: [&str; 2] = ["order_id_words", "order_id_code"];
pub(super) const TRACKING_NUMBER: [&str; 2] = ["tracking_words", "tracking_code"];

/// A field that is searched by words.
pub(super) struct TextField {
    pub(super) field: Field,
    /// The weight of a match in this field, relative to the other fields.
    pub(super) weight: u8,
    pub(super) kind: TextKind,
    name: &'static str,
}

impl TextField {
    /// Returns the column of the field's terms. Only ids have one: almost every order has its own,
    /// and so many terms take long to be read one after the other.
    pub(super) fn column(&self) -> Option<&'static str> {
        (self.kind != TextKind::Words).then_some(self.name)
    }
}

/// A kind of field, by its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// Words of a text.
    Words,
    /// Words of an id, which tolerate no typos.
    IdWords,
    /// An id without separators, which tolerates no typos either.
    Code,
}

/// The fields of the index.
pub(super) struct Fields {
    pub(super) row: Field,
    pub(super) digest: Field,
    pub(super) order_id: Field,
    pub(super) customer_id: Field,
    pub(super) status: Field,
    pub(super) product_id: Field,
    pub(super) currency: Field,
    pub(super) created_at: Field,
    updated_at: Field,
    pub(super) total_amount: Field,
    order_id_words: TextField,
    order_id_code: TextField,
    tracking_words: TextField,
    tracking_code: TextField,
    customer_name: TextField,
    product_name: TextField,
    shipping_address: TextField,
}

/// Returns the column of a sort field.
pub(super) fn column(field: SortField) -> &'static str {
    match field {
        SortField::CreatedAt => "created_at",
        SortField::UpdatedAt => "updated_at",
        SortField::TotalAmount => "total_amount",
    }
}

impl Fields {
    /// Builds the fields and their schema.
    pub(super) fn new() -> (Self, Schema) {
        let indexing = |analyzer, option| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(analyzer)
                .set_index_option(option)
                .set_fieldnorms(false);
            TextOptions::default().set_indexing_options(indexing)
        };
        let words = indexing(TEXT_ANALYZER, IndexRecordOption::WithFreqsAndPositions);
        let id_words = indexing(ID_ANALYZER, IndexRecordOption::Basic).set_fast(ID_ANALYZER);
        let mut schema = Schema::builder();
        let mut text = |name, weight, kind| {
            let options = match kind {
                TextKind::Words => words.clone(),
                TextKind::IdWords => id_words.clone(),
                TextKind::Code => STRING | FAST,
            };
            TextField {
                field: schema.add_text_field(name, options),
                weight,
                kind,
                name,
            }
        };
        let fields = Self {
            order_id_words: text(ORDER_ID[0], 4, TextKind::IdWords),
            order_id_code: text(ORDER_ID[1], 4, TextKind::Code),
            tracking_words: text(TRACKING_NUMBER[0], 4, TextKind::IdWords),
            tracking_code: text(TRACKING_NUMBER[1], 4, TextKind::Code),
            customer_name: text("customer_name", 3, TextKind::Words),
            product_name: text("product_name", 2, TextKind::Words),
            shipping_address: text("shipping_address", 1, TextKind::Words),
            row: schema.add_u64_field(ROW_COLUMN, FAST | INDEXED),
            digest: schema.add_u64_field(DIGEST_COLUMN, FAST),
            order_id: schema.add_text_field("order_id", STRING),
            currency: schema.add_text_field("currency", STRING),
            customer_id: schema.add_text_field(FacetField::CustomerId.name(), STRING | FAST),
            status: schema.add_text_field(FacetField::Status.name(), STRING | FAST),
            product_id: schema.add_text_field(FacetField::ProductId.name(), STRING | FAST),
            created_at: schema.add_u64_field(column(SortField::CreatedAt), FAST),
            updated_at: schema.add_u64_field(column(SortField::UpdatedAt), FAST),
            total_amount: schema.add_u64_field(column(SortField::TotalAmount), FAST),
        };
        (fields, schema.build())
    }

    /// Returns the fields that are searched by words.
    pub(super) fn texts(&self) -> [&TextField; 7] {
        [
            &self.order_id_words,
            &self.order_id_code,
            &self.tracking_words,
            &self.tracking_code,
            &self.customer_name,
            &self.product_name,
            &self.shipping_address,
        ]
    }

    /// Returns the term that only the document of this row has.
    pub(super) fn key(&self, row: Row) -> Term {
        Term::from_field_u64(self.row, row.0)
    }

    /// Builds the tantivy document of an order.
    pub(super) fn document(&self, Document { row, order }: &Document) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_u64(self.row, row.0);
        document.add_u64(self.digest, digest(order));
        self.add_values(&mut document, order);
        self.add_texts(&mut document, order);
        document
    }

    fn add_values(&self, document: &mut TantivyDocument, order: &Order) {
        let total = order.total_amount.clone().unwrap_or_default();
        let time = |time: &Option<_>| time.as_ref().and_then(convert::nanoseconds).unwrap_or(0);
        document.add_text(self.order_id, &order.order_id);
        document.add_text(self.customer_id, &order.customer_id);
        document.add_text(self.status, order.status().as_str_name());
        document.add_text(self.currency, &total.currency_code);
        document.add_u64(
            self.total_amount,
            ordered(convert::amount(&total).unwrap_or(0)),
        );
        document.add_u64(self.created_at, ordered(time(&order.created_at)));
        document.add_u64(self.updated_at, ordered(time(&order.updated_at)));
        // Each product is added once, even if several items have it, because the facet counts
        // orders.
        let products: BTreeSet<_> = order.items.iter().map(|item| &item.product_id).collect();
        for id in products {
            document.add_text(self.product_id, id);
        }
    }

    fn add_texts(&self, document: &mut TantivyDocument, order: &Order) {
        let mut add = |text: &TextField, value: &str| document.add_text(text.field, value);
        add(&self.order_id_words, &order.order_id);
        add(&self.order_id_code, &code(&order.order_id));
        add(&self.tracking_words, &order.tracking_number);
        add(&self.tracking_code, &code(&order.tracking_number));
        add(&self.customer_name, &order.customer_name);
        add(&self.shipping_address, &order.shipping_address);
        for item in &order.items {
            add(&self.product_name, &item.product_name);
        }
    }
}
