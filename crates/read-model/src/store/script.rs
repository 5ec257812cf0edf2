//! Builds a write transaction as one SQL text with its parameters.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use sqlx::{
    Arguments as _, AssertSqlSafe, SqliteConnection,
    encode::Encode,
    error::BoxDynError,
    sqlite::{Sqlite, SqliteArguments},
    types::Type,
};

use super::{
    Checkpoint, Error, Parked, Projection,
    batch::{Batch, Name, ParkedChange},
    json,
    statistics::Deltas,
};
use crate::{AggregateId, Row, search::Document};

/// A transaction as one text. Each call is a round trip to SQLite's thread, so one text costs one.
#[derive(Default)]
pub(super) struct Script {
    sql: String,
    arguments: SqliteArguments,
}

impl Script {
    pub(super) fn begin() -> Self {
        Self {
            sql: "BEGIN IMMEDIATE;".to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn commit(mut self) -> Self {
        self.sql.push_str("COMMIT");
        self
    }

    pub(super) fn park(
        &mut self,
        parked: impl IntoIterator<Item = (Projection, Parked)>,
    ) -> Result<(), BoxDynError> {
        self.insert(
            "INSERT INTO parked (projection, aggregate_type, aggregate_id, position, error, events) ",
            6,
            " ON CONFLICT (projection, aggregate_id, aggregate_type) DO UPDATE SET \
             position = excluded.position, error = excluded.error, events = excluded.events",
            parked,
            |script, (projection, parked)| {
                script.bind(projection.name())?;
                script.bind(i32::from(parked.aggregate.kind))?;
                script.bind(parked.aggregate.id)?;
                script.bind(parked.position.cast_signed())?;
                script.bind(parked.error)?;
                script.bind(parked.events.cast_signed())
            },
        )
    }

    pub(super) fn unpark(
        &mut self,
        projection: Projection,
        aggregate: &AggregateId,
    ) -> Result<(), BoxDynError> {
        self.sql.push_str(
            "DELETE FROM parked WHERE projection = ? AND aggregate_type = ? AND aggregate_id = ?;",
        );
        self.bind(projection.name())?;
        self.bind(i32::from(aggregate.kind))?;
        self.bind(aggregate.id.clone())
    }

    pub(super) fn queue_reindex(
        &mut self,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<(), BoxDynError> {
        let on_conflict = " ON CONFLICT (row) DO UPDATE SET times = times + 1";
        self.insert(
            "INSERT INTO again (row, times) ",
            2,
            on_conflict,
            rows,
            |script, row| {
                script.bind(row)?;
                script.bind(1)
            },
        )
    }

    /// Counts a change of orders without a new event.
    pub(super) fn count_retry(&mut self) {
        self.sql
            .push_str("UPDATE checkpoint SET retries = retries + 1;");
    }

    /// Queues many orders at once.
    pub(super) fn queue_reindex_of_rows(&mut self, rows: &[Row]) -> Result<(), Error> {
        self.sql.push_str(
            "INSERT INTO again (row, times) SELECT value, 1 FROM json_each(?) WHERE true \
             ON CONFLICT (row) DO UPDATE SET times = times + 1;",
        );
        self.bind(json(rows)?).map_err(sqlx::Error::Encode)?;
        Ok(())
    }

    fn bind<'q>(
        &mut self,
        value: impl Encode<'q, Sqlite> + Type<Sqlite>,
    ) -> Result<(), BoxDynError> {
        self.arguments.add(value)
    }

    /// Inserts rows of `columns` values each. Splits them at SQLite's limit of parameters for a
    /// statement.
    fn insert<T>(
        &mut self,
        into: &'static str,
        columns: usize,
        on_conflict: &'static str,
        rows: impl IntoIterator<Item = T>,
        mut bind: impl FnMut(&mut Self, T) -> Result<(), BoxDynError>,
    ) -> Result<(), BoxDynError> {
        let max_rows = sqlite::MAX_PARAMETERS / columns;
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut count = 0;
            for row in rows.by_ref().take(max_rows) {
                bind(self, row)?;
                count += 1;
            }
            self.sql.push_str(into);
            sqlite::values(&mut self.sql, count, columns);
            self.sql.push_str(on_conflict);
            self.sql.push(';');
        }
        Ok(())
    }

    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // Every batch has a different text, so a prepared statement would only waste memory.
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments)
            .persistent(false)
            .execute(connection)
            .await
            .map(|_| ())
    }
}

impl Script {
    /// Adds the changes of a batch, and commits.
    pub(super) fn with(
        mut self,
        batch: Batch<'_>,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, BoxDynError> {
        self.upsert_orders(batch.orders)?;
        self.upsert_names(
            "INSERT INTO customers \
             (customer_id, name, position, previous_name, previous_position) ",
            " ON CONFLICT (customer_id) DO UPDATE SET \
             previous_name = coalesce(excluded.previous_name, name), \
             previous_position = coalesce(excluded.previous_position, position), \
             name = excluded.name, position = excluded.position",
            batch.customer_names,
        )?;
        self.upsert_names(
            "INSERT INTO products \
             (product_id, name, position, previous_name, previous_position) ",
            " ON CONFLICT (product_id) DO UPDATE SET \
             previous_name = coalesce(excluded.previous_name, name), \
             previous_position = coalesce(excluded.previous_position, position), \
             name = excluded.name, position = excluded.position",
            batch.product_names,
        )?;
        self.add_statistics(batch.statistics)?;
        self.set_checkpoint(checkpoint)?;
        for aggregate in batch.unparked {
            self.unpark(Projection::Documents, &aggregate)?;
        }
        self.update_parked(batch.parked)?;
        Ok(self.commit())
    }

    fn upsert_orders(&mut self, orders: HashMap<String, Document>) -> Result<(), BoxDynError> {
        let mut orders: Vec<_> = orders.into_values().collect();
        orders.sort_unstable_by_key(|document| document.row);
        self.insert(
            "INSERT INTO orders (row, order_id, position, body) ",
            4,
            " ON CONFLICT (row) DO UPDATE SET position = excluded.position, body = excluded.body",
            orders,
            bind_order,
        )
    }

    fn upsert_names(
        &mut self,
        into: &'static str,
        on_conflict: &'static str,
        names: BTreeMap<&str, Name<'_>>,
    ) -> Result<(), BoxDynError> {
        self.insert(into, 5, on_conflict, names, |script, (id, name)| {
            script.bind(id.to_owned())?;
            script.bind(name.text.to_owned())?;
            script.bind(name.position.cast_signed())?;
            script.bind(name.previous.map(|(text, _)| text.to_owned()))?;
            script.bind(name.previous.map(|(_, position)| position.cast_signed()))
        })
    }

    fn add_statistics(&mut self, deltas: Deltas) -> Result<(), BoxDynError> {
        self.insert(
            "INSERT INTO statistics (scope, subject, currency, status, orders, high, low) ",
            7,
            " ON CONFLICT (scope, subject, currency, status) DO UPDATE SET \
             orders = orders + excluded.orders, \
             high = high + excluded.high + ((low + excluded.low) >> 32), \
             low = (low + excluded.low) & 4294967295",
            deltas.into_changes(),
            |script, (key, orders, sum)| {
                script.bind(key.scope as i64)?;
                script.bind(key.subject)?;
                script.bind(key.currency)?;
                script.bind(key.status)?;
                script.bind(orders)?;
                script.bind(sum.high)?;
                script.bind(sum.low)
            },
        )
    }

    fn set_checkpoint(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), BoxDynError> {
        self.insert(
            "INSERT INTO checkpoint (id, log_id, position, event_id, history, generation, schema) ",
            7,
            " ON CONFLICT (id) DO UPDATE SET position = excluded.position, \
             event_id = excluded.event_id",
            checkpoint,
            |script, checkpoint| {
                script.bind(1)?;
                script.bind(checkpoint.log_id.clone())?;
                script.bind(checkpoint.position.cast_signed())?;
                script.bind(checkpoint.event_id.clone())?;
                script.bind(checkpoint.history.clone())?;
                script.bind(checkpoint.generation.cast_signed())?;
                script.bind(checkpoint.schema)
            },
        )
    }

    /// Parks the aggregates with an error, and counts the new events of orders parked before.
    fn update_parked(
        &mut self,
        changes: BTreeMap<AggregateId, ParkedChange>,
    ) -> Result<(), BoxDynError> {
        let (new, waiting): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .filter(|(_, change)| change.events > 0)
            .partition(|(_, change)| change.error.is_some());
        let new = new.into_iter().filter_map(|(aggregate, change)| {
            let error = change.error?;
            let parked = Parked {
                aggregate,
                position: error.position,
                error: error.fault.to_string(),
                events: change.events,
            };
            Some((Projection::Documents, parked))
        });
        self.park(new)?;
        for (aggregate, change) in waiting {
            self.sql.push_str(
                "UPDATE parked SET events = events + ? \
                 WHERE projection = ? AND aggregate_type = ? AND aggregate_id = ?;",
            );
            self.bind(change.events.cast_signed())?;
            self.bind(Projection::Documents.name())?;
            self.bind(i32::from(aggregate.kind))?;
            self.bind(aggregate.id)?;
        }
        Ok(())
    }
}

fn bind_order(script: &mut Script, Document { row, order }: Document) -> Result<(), BoxDynError> {
    let body = order.encode_to_vec();
    script.bind(row)?;
    script.bind(order.order_id)?;
    script.bind(order.position.cast_signed())?;
    script.bind(body)
}
