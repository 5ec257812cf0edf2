//! Builds a new generation of the documents, and switches the live one to it.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError},
};

use sqlx::AssertSqlSafe;

use super::{Error, Writer, json};
use crate::{AggregateId, Row};

/// Speeds up the build of a new file. No part of the file outlives a crash, so writes skip the
/// journal and the sync.
const BUILD_PRAGMAS: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";

/// Selects the first count or sum in which the new documents differ from the old ones, as a
/// sentence.
const SELECT_TOTAL_DIFFERENCE: &str = "
    WITH keys AS (
        SELECT currency, status FROM main.statistics WHERE scope = 0
        UNION SELECT currency, status FROM old.statistics WHERE scope = 0)
    SELECT coalesce(n.orders, 0) || ' orders in state ' || status || ' with a sum of '
        || (coalesce(n.high * 4294967296.0 + n.low, 0) / 10000) || ' ' || currency
        || ' instead of ' || coalesce(o.orders, 0) || ' with '
        || (coalesce(o.high * 4294967296.0 + o.low, 0) / 10000)
    FROM keys
    LEFT JOIN (SELECT * FROM main.statistics WHERE scope = 0) n USING (currency, status)
    LEFT JOIN (SELECT * FROM old.statistics WHERE scope = 0) o USING (currency, status)
    WHERE (coalesce(n.orders, 0), coalesce(n.high, 0), coalesce(n.low, 0))
        IS NOT (coalesce(o.orders, 0), coalesce(o.high, 0), coalesce(o.low, 0))
    UNION ALL
    SELECT n.customers || ' names of customers instead of ' || o.customers FROM
        (SELECT count(name) AS customers FROM main.customers) n,
        (SELECT count(name) AS customers FROM old.customers) o WHERE n.customers <> o.customers
    UNION ALL
    SELECT n.products || ' names of products instead of ' || o.products FROM
        (SELECT count(name) AS products FROM main.products) n,
        (SELECT count(name) AS products FROM old.products) o WHERE n.products <> o.products
    LIMIT 1";

/// Number of orders or names that are compared in one statement, which reads a snapshot of the live file.
const COMPARED_AT_ONCE: i64 = 2000;

/// Queues the orders in rows (?1, ?2] whose documents differ, unless one changed after position ?3.
const QUEUE_DIFFERENCES: &str = "
    INSERT INTO main.again SELECT n.row, 1 FROM main.orders n LEFT JOIN old.orders o ON o.row = n.row
        WHERE n.row > ?1 AND n.row <= ?2 AND n.position <= ?3
            AND (o.position IS NULL OR o.position <= ?3) AND o.body IS NOT n.body
        ON CONFLICT (row) DO UPDATE SET times = times + 1";

/// Queues the orders whose documents differ, of those that changed after position ?1.
const QUEUE_LATER_DIFFERENCES: &str = "
    INSERT INTO main.again SELECT n.row, 1 FROM main.orders n LEFT JOIN old.orders o ON o.row = n.row
        WHERE o.body IS NOT n.body AND n.row IN (
            SELECT row FROM main.orders WHERE row > ?1
            UNION SELECT row FROM main.orders WHERE position > ?1 AND position > row
            UNION SELECT row FROM old.orders WHERE position > ?1 AND position > row)
        ON CONFLICT (row) DO UPDATE SET times = times + 1";

/// Select the highest number of a customer, and those with numbers in (?1, ?2] whose names differ, unless
/// one is of an event after position ?3.
const RENAMED_CUSTOMERS: [&str; 2] = [
    "SELECT coalesce(max(number), 0) FROM main.customers",
    "SELECT 2 AS aggregate_type, n.customer_id AS aggregate_id
        FROM main.customers n LEFT JOIN old.customers o USING (customer_id)
        WHERE n.number > ?1 AND n.number <= ?2 AND n.name IS NOT o.name
            AND coalesce(n.position, 0) <= ?3 AND coalesce(o.position, 0) <= ?3",
];

/// Select the same of products.
const RENAMED_PRODUCTS: [&str; 2] = [
    "SELECT coalesce(max(number), 0) FROM main.products",
    "SELECT 3 AS aggregate_type, n.product_id AS aggregate_id
        FROM main.products n LEFT JOIN old.products o USING (product_id)
        WHERE n.number > ?1 AND n.number <= ?2 AND n.name IS NOT o.name
            AND coalesce(n.position, 0) <= ?3 AND coalesce(o.position, 0) <= ?3",
];

/// Selects the customers and products whose names differ, of those that got one after position ?1.
const SELECT_LATER_RENAMED: &str = "
    SELECT 2 AS aggregate_type, n.customer_id AS aggregate_id
        FROM main.customers n LEFT JOIN old.customers o USING (customer_id)
        WHERE n.name IS NOT o.name AND n.customer_id IN (
            SELECT customer_id FROM main.customers WHERE position > ?1
            UNION SELECT customer_id FROM old.customers WHERE position > ?1)
    UNION ALL SELECT 3, n.product_id
        FROM main.products n LEFT JOIN old.products o USING (product_id)
        WHERE n.name IS NOT o.name AND n.product_id IN (
            SELECT product_id FROM main.products WHERE position > ?1
            UNION SELECT product_id FROM old.products WHERE position > ?1)";

/// Queues the orders in these rows.
const QUEUE_ROWS: &str = "
    INSERT INTO main.again SELECT value, 1 FROM json_each(?) WHERE true
        ON CONFLICT (row) DO UPDATE SET times = times + 1";

/// Copies the state of the search index, which only the old documents know: the queue of orders to
/// index, and the rejected orders. Each `times` rises: the indexer may be writing an old document,
/// whose entry must not remove the new one. Both generations are of the same history, which the
/// index knows by the old name.
const COPY_SEARCH_STATE: &str = "
    INSERT INTO main.again SELECT row, times + 1 FROM old.again WHERE true
        ON CONFLICT (row) DO UPDATE SET times = max(times + 1, excluded.times);
    DELETE FROM main.parked WHERE projection = 'search';
    INSERT INTO main.parked SELECT * FROM old.parked WHERE projection = 'search';
    UPDATE main.checkpoint SET history = (SELECT history FROM old.checkpoint)";

/// Restores, for a finished file, the settings of a live one, see [`super::SYNCHRONOUS`].
const LIVE_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";

/// Decides whether a switch compares the counts and sums of both generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalsCheck {
    /// The counts and sums must equal those of the live generation.
    Compare,
    /// The counts and sums may differ, because the new documents have been compared with the log.
    Skip,
}

impl Writer {
    /// Opens an unfinished file for a rebuild, which is lost unless [`Writer::finish`] completes
    /// it.
    ///
    /// Drops every index that the build does not need: updating one costs more than applying the
    /// event.
    ///
    /// # Errors
    /// - [`Error::File`]: the file is not a read model, or cannot be opened.
    /// - [`Error::Sqlite`]: the file cannot be read or changed.
    pub async fn open_new(path: &Path, generation: u64) -> Result<Self, Error> {
        let mut writer = Self::open(path, generation).await?;
        let connection = &mut writer.connection;
        let indexes: Vec<(String, String)> = sqlx::query_as(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        )
        .fetch_all(&mut *connection)
        .await?;
        sqlx::raw_sql(BUILD_PRAGMAS)
            .execute(&mut *connection)
            .await?;
        for (name, sql) in indexes {
            let drop = format!("DROP INDEX {name}");
            sqlx::raw_sql(AssertSqlSafe(drop))
                .execute(&mut *connection)
                .await?;
            writer.indexes.push(sql);
        }
        Ok(writer)
    }

    /// Creates the indexes of a file from [`Writer::open_new`], and syncs the file to disk.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: an index or a setting cannot be written.
    /// - [`Error::Files`]: the file cannot be synced.
    pub async fn finish(&mut self) -> Result<(), Error> {
        sqlx::raw_sql(sqlite::SORT_IN_FILES)
            .execute(&mut self.connection)
            .await?;
        for sql in std::mem::take(&mut self.indexes) {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut self.connection)
                .await?;
        }
        sqlx::raw_sql(sqlite::SORT_IN_MEMORY)
            .execute(&mut self.connection)
            .await?;
        let path = self.path.clone();
        let synced = tokio::task::spawn_blocking(move || fs::File::open(path)?.sync_all());
        synced.await.map_err(io::Error::other)??;
        sqlx::raw_sql(LIVE_PRAGMAS)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Switches from the live writer `old` to this one: the readers of `old` then read the file of
    /// this writer.
    ///
    /// `switch` makes this generation the live one on disk. Copies the reindex queue, and queues
    /// every order whose document differs, among those that [`Writer::compare_with`] has not compared.
    ///
    /// # Errors
    /// - [`Error::Gap`]: the two writers are at different positions.
    /// - [`Error::Diverged`]: they are made from different histories of the log.
    /// - [`Error::Differs`]: their counts or sums differ, and `totals` is [`TotalsCheck::Compare`].
    /// - [`Error::Unlisted`]: a name differs, and the index of lists is not filled.
    /// - [`Error::Sqlite`] or [`Error::File`]: a file cannot be read or written.
    /// - [`Error::Files`]: `switch` fails.
    ///
    /// On an error `old` stays live.
    pub async fn replace_live(
        &mut self,
        old: &Self,
        totals: TotalsCheck,
        switch: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.position() != old.position() {
            return Err(Error::Gap {
                expected: old.position() + 1,
                given: self.position() + 1,
            });
        }
        let event_id = |writer: &Self| Some(writer.checkpoint.as_ref()?.event_id.clone());
        if event_id(self) != event_id(old) {
            return Err(Error::Diverged);
        }
        self.attach(&old.path).await?;
        let copied = self.copy_search_state(totals).await;
        self.detach().await?;
        let are_different = copied?;
        // The copy has changed the history.
        self.load_checkpoint().await?;
        self.replace_unchecked(old, switch).await?;
        if are_different {
            self.revised.send_replace(());
        }
        Ok(())
    }

    /// Switches from the live writer `old` to this one, without the checks of
    /// [`Writer::replace_live`]. Documents that start over because the log went back differ from the
    /// old ones.
    ///
    /// # Errors
    /// - [`Error::File`]: this file cannot be opened once more.
    /// - [`Error::Files`]: `switch` fails.
    ///
    /// On an error `old` stays live.
    pub async fn replace_unchecked(
        &mut self,
        old: &Self,
        switch: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        let pools = old
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut opened = Vec::new();
        for pool in &pools {
            opened.push(pool.open_another(&self.path).await?);
        }
        switch()?;
        self.pools = Arc::clone(&old.pools);
        let position = self.position();
        self.position = old.position.clone();
        self.reindex = old.reindex.clone();
        self.consistent = old.consistent.clone();
        self.compared = old.compared.clone();
        self.revised = old.revised.clone();
        self.listed = old.listed.clone();
        self.listed.send_replace(self.filling.is_none());
        for (pool, opened) in pools.iter().zip(opened) {
            pool.replace(opened, self.published_lists());
        }
        self.position.send_replace(position);
        self.reindex.send_replace(());
        Ok(())
    }

    /// Compares the documents and names with the live ones in a file, and queues for the search index
    /// the orders that differ. [`Writer::replace_live`] then compares only what changes later, and is
    /// brief.
    ///
    /// # Errors
    /// - [`Error::Sqlite`]: a file cannot be read, or this one cannot be written.
    /// - [`Error::Unlisted`]: a name differs, and the index of lists is not filled.
    pub async fn compare_with(&mut self, live: &Path) -> Result<(), Error> {
        self.attach(live).await?;
        let compared = self.queue_differences().await;
        self.detach().await?;
        self.compared_until = compared?;
        Ok(())
    }

    /// Compares the documents and names up to this position with the attached ones. Returns the
    /// position.
    async fn queue_differences(&mut self) -> Result<u64, Error> {
        let position = self.position();
        // A generation that was live before has the queue of that time.
        sqlx::raw_sql("DELETE FROM main.again")
            .execute(&mut self.connection)
            .await?;
        let mut after = Row::default();
        loop {
            let last: Option<Row> = sqlx::query_scalar(
                "SELECT max(row) FROM (SELECT row FROM main.orders WHERE row > ? ORDER BY row LIMIT ?)",
            )
            .bind(after)
            .bind(COMPARED_AT_ONCE)
            .fetch_one(&mut self.connection)
            .await?;
            let Some(last) = last else {
                break;
            };
            sqlx::query(QUEUE_DIFFERENCES)
                .bind(after)
                .bind(last)
                .bind(position.cast_signed())
                .execute(&mut self.connection)
                .await?;
            after = last;
        }
        for [select_last, select] in [RENAMED_CUSTOMERS, RENAMED_PRODUCTS] {
            let last: i64 = sqlx::query_scalar(select_last)
                .fetch_one(&mut self.connection)
                .await?;
            for after in (0..last).step_by(COMPARED_AT_ONCE as usize) {
                let renamed = sqlx::query_as(select)
                    .bind(after)
                    .bind(after + COMPARED_AT_ONCE)
                    .bind(position.cast_signed())
                    .fetch_all(&mut self.connection)
                    .await?;
                self.queue_renamed(renamed).await?;
            }
        }
        Ok(position)
    }

    /// Queues the orders that show these names.
    async fn queue_renamed(&mut self, renamed: Vec<AggregateId>) -> Result<(), Error> {
        for named in renamed {
            for rows in self.rows_of_name(&named).await? {
                sqlx::query(QUEUE_ROWS)
                    .bind(json(&rows)?)
                    .execute(&mut self.connection)
                    .await?;
            }
        }
        Ok(())
    }

    /// Attaches another file of documents as `old`.
    async fn attach(&mut self, other: &Path) -> Result<(), Error> {
        self.roll_back().await?;
        sqlx::query("ATTACH ? AS old")
            .bind(other.to_string_lossy().into_owned())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn detach(&mut self) -> Result<(), Error> {
        // The rollback fails unless a statement failed inside its transaction and left it open.
        let _ = sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await;
        sqlx::raw_sql("DETACH old")
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Copies the state of the search index from the attached live documents, after the comparison
    /// of the totals. Returns whether any documents differ.
    async fn copy_search_state(&mut self, totals: TotalsCheck) -> Result<bool, Error> {
        if totals == TotalsCheck::Compare {
            let different: Option<String> = sqlx::query_scalar(SELECT_TOTAL_DIFFERENCE)
                .fetch_optional(&mut self.connection)
                .await?;
            if let Some(different) = different {
                return Err(Error::Differs(different));
            }
        }
        sqlx::raw_sql("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        sqlx::query(QUEUE_LATER_DIFFERENCES)
            .bind(self.compared_until.cast_signed())
            .execute(&mut self.connection)
            .await?;
        let renamed = sqlx::query_as(SELECT_LATER_RENAMED)
            .bind(self.compared_until.cast_signed())
            .fetch_all(&mut self.connection)
            .await?;
        self.queue_renamed(renamed).await?;
        let are_different = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM main.again)")
            .fetch_one(&mut self.connection)
            .await?;
        sqlx::raw_sql(COPY_SEARCH_STATE)
            .execute(&mut self.connection)
            .await?;
        sqlx::raw_sql("COMMIT")
            .execute(&mut self.connection)
            .await?;
        Ok(are_different)
    }

    /// Checks that the file is sound and that its statistics count the existing orders. Returns the
    /// problem, if any.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn check(&mut self) -> Result<Option<String>, Error> {
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut self.connection)
            .await?;
        if sound != "ok" {
            return Ok(Some(sound));
        }
        let (orders, counted): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM orders), \
             (SELECT coalesce(sum(orders), 0) FROM statistics WHERE scope = 0)",
        )
        .fetch_one(&mut self.connection)
        .await?;
        let wrong = || format!("there are {orders} orders, and {counted} in the statistics");
        Ok((orders != counted).then(wrong))
    }
}
