//! The numbers by which the index of lists knows customers and products.

use std::collections::{BTreeSet, HashMap};

use contract::orders::v1::Order;
use sqlx::SqliteConnection;

use super::{Error, json};
use crate::{lists::Entry, search::Document};

/// Maximum number of ids whose numbers are remembered, of customers and of products each. An id has
/// at most some hundred bytes.
const MAX_REMEMBERED: usize = 100_000;

const SELECT_CUSTOMERS: &str = "SELECT customer_id, number FROM customers \
    WHERE customer_id IN (SELECT value FROM json_each(?))";

const SELECT_PRODUCTS: &str = "SELECT product_id, number FROM products \
    WHERE product_id IN (SELECT value FROM json_each(?))";

/// Gives numbers, and remembers the latest.
#[derive(Debug)]
pub(super) struct Numbers {
    customers: Remembered,
    products: Remembered,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            customers: Remembered {
                numbers: HashMap::new(),
                insert: "INSERT INTO customers (customer_id) SELECT value FROM json_each(?) \
                    WHERE true ON CONFLICT DO NOTHING",
                select: SELECT_CUSTOMERS,
            },
            products: Remembered {
                numbers: HashMap::new(),
                insert: "INSERT INTO products (product_id) SELECT value FROM json_each(?) \
                    WHERE true ON CONFLICT DO NOTHING",
                select: SELECT_PRODUCTS,
            },
        }
    }

    /// Builds the entries of documents. Customers and products that have no number yet get one, even
    /// if the documents are not stored afterwards.
    pub(super) async fn entries<'a>(
        &mut self,
        connection: &mut SqliteConnection,
        documents: impl Iterator<Item = &'a Document> + Clone,
    ) -> Result<Vec<Entry>, Error> {
        let customers = customer_ids(documents.clone());
        self.customers.learn(connection, customers).await?;
        let products = all_product_ids(documents.clone());
        self.products.learn(connection, products).await?;
        let (customers, products) = (&self.customers.numbers, &self.products.numbers);
        let entries = documents.map(|document| entry(document, customers, products));
        let entries: Option<_> = entries.collect();
        // `learn` has given each id a number.
        entries.ok_or(Error::Sqlite(sqlx::Error::RowNotFound))
    }
}

/// Builds the entries of stored documents; `None` for one with a customer or product that has no
/// number.
pub(super) async fn known_entries(
    connection: &mut SqliteConnection,
    documents: &[Document],
) -> Result<Vec<Option<Entry>>, Error> {
    let customers = json(&Vec::from_iter(customer_ids(documents.iter())))?;
    let customers = known(connection, SELECT_CUSTOMERS, &customers).await?;
    let products = json(&Vec::from_iter(all_product_ids(documents.iter())))?;
    let products = known(connection, SELECT_PRODUCTS, &products).await?;
    let entries = documents.iter();
    Ok(entries
        .map(|document| entry(document, &customers, &products))
        .collect())
}

/// Builds an entry; `None` if a number is missing.
fn entry(
    Document { row, order }: &Document,
    customers: &HashMap<String, u64>,
    products: &HashMap<String, u64>,
) -> Option<Entry> {
    let customer = *customers.get(&order.customer_id)?;
    let products = product_ids(order).map(|id| products.get(id).copied());
    Some(Entry::new(
        *row,
        order,
        customer,
        products.collect::<Option<_>>()?,
    ))
}

/// Returns the numbers that some ids have.
async fn known(
    connection: &mut SqliteConnection,
    select: &'static str,
    ids: &str,
) -> Result<HashMap<String, u64>, Error> {
    let found: Vec<(String, i64)> = sqlx::query_as(select)
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let found = found.into_iter();
    Ok(found
        .map(|(id, number)| (id, number.cast_unsigned()))
        .collect())
}

fn customer_ids<'a>(documents: impl Iterator<Item = &'a Document>) -> BTreeSet<&'a str> {
    documents
        .map(|document| document.order.customer_id.as_str())
        .collect()
}

fn all_product_ids<'a>(documents: impl Iterator<Item = &'a Document>) -> BTreeSet<&'a str> {
    documents
        .flat_map(|document| product_ids(&document.order))
        .collect()
}

fn product_ids(order: &Order) -> impl Iterator<Item = &str> {
    order.items.iter().map(|item| item.product_id.as_str())
}

/// The numbers of one kind of ids. They never change.
#[derive(Debug)]
struct Remembered {
    numbers: HashMap<String, u64>,
    insert: &'static str,
    select: &'static str,
}

impl Remembered {
    /// Remembers the numbers of these ids.
    async fn learn(
        &mut self,
        connection: &mut SqliteConnection,
        ids: BTreeSet<&str>,
    ) -> Result<(), Error> {
        if self.numbers.len() + ids.len() > MAX_REMEMBERED {
            self.numbers.clear();
        }
        let is_new = |id: &&str| !self.numbers.contains_key(*id);
        let new: Vec<_> = ids.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let list = json(&new)?;
        if self.select(connection, &list).await? < new.len() {
            sqlx::query(self.insert)
                .bind(&list)
                .execute(&mut *connection)
                .await?;
            self.select(connection, &list).await?;
        }
        Ok(())
    }

    /// Remembers the numbers that some ids have. Returns how many have one.
    async fn select(
        &mut self,
        connection: &mut SqliteConnection,
        ids: &str,
    ) -> Result<usize, Error> {
        let found = known(connection, self.select, ids).await?;
        let count = found.len();
        self.numbers.extend(found);
        Ok(count)
    }
}
