//! Finds the watchers that an order may concern, without a look at every filter.

use std::collections::{HashMap, HashSet};

use contract::orders::v1::Order;
use read_model::request::OrderFilter;

/// The watchers by the most selective condition of their filters.
#[derive(Debug, Default)]
pub(super) struct Predicates {
    by_order: ById,
    by_customer: ById,
    by_product: ById,
    /// The watchers whose filters name no ids.
    others: HashSet<u64>,
}

impl Predicates {
    pub(super) fn insert(&mut self, watcher: u64, filter: &OrderFilter) {
        match self.place(filter) {
            Some((place, ids)) => place.insert(watcher, ids),
            None => {
                self.others.insert(watcher);
            }
        }
    }

    pub(super) fn remove(&mut self, watcher: u64, filter: &OrderFilter) {
        match self.place(filter) {
            Some((place, ids)) => place.remove(watcher, ids),
            None => {
                self.others.remove(&watcher);
            }
        }
    }

    /// Returns the watchers whose filters may match an order in one of its states, each once.
    pub(super) fn candidates(&self, order: &Order) -> impl Iterator<Item = u64> {
        // A watcher has one place, but may be there for several products of the order.
        let products = order.items.iter().map(|item| &item.product_id);
        let by_product = products.flat_map(|product| self.by_product.get(product));
        let by_product: HashSet<_> = by_product.copied().collect();
        let by_id = self.by_order.get(&order.order_id);
        let by_id = by_id.chain(self.by_customer.get(&order.customer_id));
        by_id.chain(&self.others).copied().chain(by_product)
    }

    /// Returns where watchers with this filter are kept, and by which ids.
    fn place<'a>(&mut self, filter: &'a OrderFilter) -> Option<(&mut ById, &'a [String])> {
        if !filter.order_ids.is_empty() {
            Some((&mut self.by_order, &filter.order_ids))
        } else if !filter.customer_ids.is_empty() {
            Some((&mut self.by_customer, &filter.customer_ids))
        } else if !filter.product_ids.is_empty() {
            Some((&mut self.by_product, &filter.product_ids))
        } else {
            None
        }
    }
}

/// Watchers by an id in their filters.
#[derive(Debug, Default)]
struct ById(HashMap<String, HashSet<u64>>);

impl ById {
    fn insert(&mut self, watcher: u64, ids: &[String]) {
        for id in ids {
            self.0.entry(id.clone()).or_default().insert(watcher);
        }
    }

    fn remove(&mut self, watcher: u64, ids: &[String]) {
        for id in ids {
            if let Some(watchers) = self.0.get_mut(id) {
                watchers.remove(&watcher);
                if watchers.is_empty() {
                    self.0.remove(id);
                }
            }
        }
    }

    fn get(&self, id: &str) -> impl Iterator<Item = &u64> {
        self.0.get(id).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use contract::orders::v1::OrderItem;

    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn order(id: &str, customer: &str, products: &[&str]) -> Order {
        let items = products.iter().map(|product| OrderItem {
            product_id: (*product).to_owned(),
            ..OrderItem::default()
        });
        Order {
            order_id: id.to_owned(),
            customer_id: customer.to_owned(),
            items: items.collect(),
            ..Order::default()
        }
    }

    #[test]
    fn an_order_finds_the_watchers_of_its_ids_and_those_without_ids() {
        let of_order = OrderFilter {
            order_ids: ids(&["o-1"]),
            customer_ids: ids(&["ann"]),
            ..OrderFilter::default()
        };
        let of_customer = OrderFilter {
            customer_ids: ids(&["ann", "bob"]),
            ..OrderFilter::default()
        };
        let of_product = OrderFilter {
            product_ids: ids(&["tea", "mug"]),
            ..OrderFilter::default()
        };
        let filters = [of_order, of_customer, of_product, OrderFilter::default()];
        let mut predicates = Predicates::default();
        for (watcher, filter) in (1..).zip(&filters) {
            predicates.insert(watcher, filter);
        }
        let found = |order: &Order, predicates: &Predicates| {
            let mut found = Vec::from_iter(predicates.candidates(order));
            found.sort_unstable();
            found
        };
        let all = order("o-1", "ann", &["tea", "mug", "tea"]);
        assert_eq!(found(&all, &predicates), [1, 2, 3, 4]);
        assert_eq!(found(&order("o-2", "bob", &["pot"]), &predicates), [2, 4]);
        assert_eq!(found(&order("o-2", "eve", &["mug"]), &predicates), [3, 4]);
        for (watcher, filter) in (1..).zip(&filters) {
            predicates.remove(watcher, filter);
        }
        assert_eq!(found(&all, &predicates), [0; 0]);
        assert!(predicates.by_product.0.is_empty());
    }
}
