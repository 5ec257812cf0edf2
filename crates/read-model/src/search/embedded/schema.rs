//! The fields of the index, and their values in an order. The index stores no documents: a hit is a
//! row.

use std::collections::BTreeSet;

use contract::orders::v1::Order;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{TantivyDocument, Term};
use wire::convert;

use super::analyzer::{ID_ANALYZER, TEXT_ANALYZER};
use super::digest::digest;
use crate::Row;
use crate::request::{FacetField, SortField};
use crate::search::Document;

/// The column of the rows.
pub(super) const ROW_COLUMN: &str = "row";

/// The column of the digests.
pub(super) const DIGEST_COLUMN: &str = "digest";

/// A field that is searched by words.
pub(super) struct TextField {
    pub(super) field: Field,
    /// The weight of a match in this field, relative to the other fields.
    pub(super) weight: u16,
    /// Whether the field holds ids, which tolerate no typos.
    pub(super) is_id: bool,
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
    order_id_text: TextField,
    tracking_number: TextField,
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
        let ids = indexing(ID_ANALYZER, IndexRecordOption::Basic);
        let mut schema = Schema::builder();
        let mut text = |name, weight, is_id| TextField {
            field: schema.add_text_field(name, if is_id { ids.clone() } else { words.clone() }),
            weight,
            is_id,
        };
        let fields = Self {
            order_id_text: text("order_id_text", 4, true),
            tracking_number: text("tracking_number", 4, true),
            customer_name: text("customer_name", 3, false),
            product_name: text("product_name", 2, false),
            shipping_address: text("shipping_address", 1, false),
            row: schema.add_u64_field(ROW_COLUMN, FAST | INDEXED),
            digest: schema.add_u64_field(DIGEST_COLUMN, FAST),
            order_id: schema.add_text_field("order_id", STRING),
            currency: schema.add_text_field("currency", STRING),
            customer_id: schema.add_text_field(FacetField::CustomerId.name(), STRING | FAST),
            status: schema.add_text_field(FacetField::Status.name(), STRING | FAST),
            product_id: schema.add_text_field(FacetField::ProductId.name(), STRING | FAST),
            created_at: schema.add_i64_field(column(SortField::CreatedAt), FAST),
            updated_at: schema.add_i64_field(column(SortField::UpdatedAt), FAST),
            total_amount: schema.add_i64_field(column(SortField::TotalAmount), FAST),
        };
        (fields, schema.build())
    }

    /// Returns the fields that are searched by words.
    pub(super) fn texts(&self) -> [&TextField; 5] {
        [
            &self.order_id_text,
            &self.tracking_number,
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
        document.add_i64(self.total_amount, convert::amount(&total).unwrap_or(0));
        document.add_i64(self.created_at, time(&order.created_at));
        document.add_i64(self.updated_at, time(&order.updated_at));
        // Each product is added once, even if several items have it, because the facet counts
        // orders.
        let products: BTreeSet<_> = order.items.iter().map(|item| &item.product_id).collect();
        for id in products {
            document.add_text(self.product_id, id);
        }
    }

    fn add_texts(&self, document: &mut TantivyDocument, order: &Order) {
        let mut add = |text: &TextField, value: &str| document.add_text(text.field, value);
        add(&self.order_id_text, &order.order_id);
        add(&self.tracking_number, &order.tracking_number);
        add(&self.customer_name, &order.customer_name);
        add(&self.shipping_address, &order.shipping_address);
        for item in &order.items {
            add(&self.product_name, &item.product_name);
        }
    }
}
