//! Tests of the content of documents.

use contract::orders::v1::*;
use e2e::Server;
use test_support::{assert_refused, order, request};
use tonic::Code;

use super::{create, ids};

#[tokio::test]
async fn a_document_has_every_field_of_its_order() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let tea = order::product("tea", "Green Tea");
    clients.register_product(tea).await.unwrap();
    clients.create("o").await;
    clients.ship_order(order::ship("o")).await.unwrap();
    let ann = order::customer("ann", "Ann Lee");
    let position = clients.register_customer(ann).await.unwrap().position;

    let found = clients.order("o", position).await;
    assert_eq!(found.customer_id, "ann");
    assert_eq!(found.customer_name, "Ann Lee");
    assert_eq!(found.status(), OrderStatus::Shipped);
    let expected = OrderItem {
        product_id: "tea".into(),
        product_name: "Green Tea".into(),
        quantity: 2,
        unit_price: order::euros(125_000),
        line_total: order::euros(250_000),
    };
    assert_eq!(found.items, [expected]);
    assert_eq!(found.total_amount, order::euros(250_000));
    assert_eq!(found.item_count, 1);
    assert_eq!(found.shipping_address, order::ship("o").shipping_address);
    assert_eq!(found.tracking_number, order::ship("o").tracking_number);
    assert_eq!((found.version, found.position), (2, 4), "a name counts too");
    assert!(found.created_at.is_some() && found.shipped_at == found.updated_at);
    assert_eq!((found.delivered_at, found.cancelled_at), (None, None));
}

#[tokio::test]
async fn an_unknown_order_or_customer_is_not_found() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    let unknown = clients.get_order(request::order("none", 0)).await;
    assert_refused(unknown, Code::NotFound, "ORDER_NOT_FOUND");
    let unknown = GetCustomerStatisticsRequest {
        customer_id: "none".into(),
        ..GetCustomerStatisticsRequest::default()
    };
    let unknown = clients.queries.get_customer_statistics(unknown).await;
    assert_refused(unknown, Code::NotFound, "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn late_names_and_renames_reach_every_order_that_shows_them_also_in_search() {
    let server = Server::start().await;
    let mut clients = server.clients().await;
    create(&mut clients, 0..6).await;
    for (name, word) in [
        ("Münster Tea House", "munster"),
        ("Quirky Qualities", "quirky"),
    ] {
        let named = clients.register_customer(order::customer("c-1", name));
        let position = named.await.unwrap().position;
        let found = clients.search(word, position).await.unwrap();
        assert_eq!(ids(&found), ["o-4", "o-1"], "newest first among equals");
        assert!(found.orders.iter().all(|order| order.customer_name == name));
    }
    let found = clients.search("munster", 0).await.unwrap();
    assert_eq!(ids(&found), [""; 0]);
}
