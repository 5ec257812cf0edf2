//! Access to the SQLite files of a node, outside the node.

use std::path::Path;

use contract::orders::v1::Order;
use prost::Message as _;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::SqliteConnectOptions,
};

use crate::DEADLINE;

/// Opens an existing file.
///
/// # Panics
/// Panics if the file does not exist, or is no database.
pub async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file);
    options.busy_timeout(DEADLINE).connect().await.unwrap()
}

/// Runs SQL statements on a file.
///
/// # Panics
/// Panics if a statement fails.
pub async fn run(file: &Path, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    let mut connection = open(file).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Changes the stored document of an order in `read.db`.
///
/// # Panics
/// Panics if the file has no such order.
pub async fn edit_order(file: &Path, order_id: &str, edit: impl FnOnce(&mut Order)) {
    let mut connection = open(file).await;
    let body: Vec<u8> = sqlx::query_scalar("SELECT body FROM orders WHERE order_id = ?")
        .bind(order_id)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let mut order = Order::decode(&*body).unwrap();
    edit(&mut order);
    sqlx::query("UPDATE orders SET body = ? WHERE order_id = ?")
        .bind(order.encode_to_vec())
        .bind(order_id)
        .execute(&mut connection)
        .await
        .unwrap();
}

/// Drops the triggers of a log that reject changes of events and request ids.
///
/// # Panics
/// Panics if the file is no log, or has no triggers.
pub async fn unlock(log: &Path) {
    let triggers = "DROP TRIGGER events_are_never_changed; DROP TRIGGER events_are_never_deleted;
        DROP TRIGGER requests_are_never_changed; DROP TRIGGER requests_are_never_deleted";
    run(log, triggers).await;
}
