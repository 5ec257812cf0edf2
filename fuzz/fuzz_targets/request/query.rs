//! Fuzzes `SearchOrders`, `WatchOrders` and `Subscribe`.

use command_side::events::filter::Filter;
use contract::orders::v1::*;
use prost::Message as _;
use query_side::{
    check::{self, Search},
    wait::Wait,
};
use read_model::request::{Bound, Sort, SortField};
use recorded_event::Payload;
use wire::{Violations, convert};

use crate::is_told;

pub(crate) fn search(bytes: &[u8]) {
    let Ok(request) = SearchOrdersRequest::decode(bytes) else {
        return;
    };
    let mut violations = Violations::default();
    let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
    let search = check::search(request.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let Search {
        query,
        filter,
        sort,
        limit,
        facets,
    } = search;
    // The request rebuilt from the checked search must equal the original.
    let understood = SearchOrdersRequest {
        query,
        customer_ids: filter.customer_ids,
        statuses: filter.statuses.into_iter().map(i32::from).collect(),
        product_ids: filter.product_ids,
        created_from: filter.created_from.map(convert::timestamp),
        created_to: filter.created_to.map(convert::timestamp),
        min_total: filter.min_total.map(money),
        max_total: filter.max_total.map(money),
        order_by: sort.map(order_by).unwrap_or_default(),
        page_size: u32::try_from(limit).expect("at most 500"),
        page_token: request.page_token.clone(),
        facets: facets.iter().map(|facet| facet.name().into()).collect(),
        min_position: wait.position,
        max_wait: request.max_wait,
        highlights: request.highlights,
    };
    let page_size = match request.page_size {
        0 => 50,
        size => size,
    };
    assert!(page_size <= 500);
    let meant = SearchOrdersRequest {
        page_size,
        ..request
    };
    assert_eq!(understood, meant);
}

fn order_by(Sort { field, descending }: Sort) -> String {
    let field = match field {
        SortField::CreatedAt => "created_at",
        SortField::UpdatedAt => "updated_at",
        SortField::TotalAmount => "total_amount",
    };
    format!("{field}{}", if descending { " desc" } else { "" })
}

pub(crate) fn watch(bytes: &[u8]) {
    let Ok(request) = WatchOrdersRequest::decode(bytes) else {
        return;
    };
    let mut violations = Violations::default();
    let wait = Wait::new(request.min_position, request.max_wait, &mut violations);
    let filter = check::filter(request.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let understood = WatchOrdersRequest {
        order_ids: filter.order_ids,
        customer_ids: filter.customer_ids,
        statuses: filter.statuses.into_iter().map(i32::from).collect(),
        product_ids: filter.product_ids,
        created_from: filter.created_from.map(convert::timestamp),
        created_to: filter.created_to.map(convert::timestamp),
        min_total: filter.min_total.map(money),
        max_total: filter.max_total.map(money),
        min_position: wait.position,
        max_wait: request.max_wait,
        changes_only: request.changes_only,
    };
    assert_eq!(understood, request);
}

fn money(bound: Bound) -> contract::google::r#type::Money {
    convert::money(bound.amount, &bound.currency.unwrap_or_default())
}

pub(crate) fn subscribe(bytes: &[u8]) {
    let Ok(request) = SubscribeRequest::decode(bytes) else {
        return;
    };
    let wanted = request.filter.unwrap_or_default();
    let mut violations = Violations::default();
    let filter = Filter::new(wanted.clone(), &mut violations);
    if let Err(error) = violations.finish() {
        return is_told(error);
    }
    let event = RecordedEvent {
        position: 7,
        aggregate_type: AggregateType::Order.into(),
        aggregate_id: "o-1".to_owned(),
        version: 3,
        customer_id: "ann".to_owned(),
        payload: Some(Payload::OrderDelivered(OrderDelivered {})),
        ..RecordedEvent::default()
    };
    fn any<T: PartialEq<U>, U: ?Sized>(list: &[T], value: &U) -> bool {
        list.is_empty() || list.iter().any(|it| it == value)
    }
    let is_wanted = any(&wanted.aggregate_types, &event.aggregate_type)
        && any(&wanted.aggregate_ids, "o-1")
        && any(&wanted.event_types, "OrderDelivered")
        && any(&wanted.customer_ids, "ann");
    assert_eq!(filter.matches(&event.encode_to_vec()), is_wanted);
}
