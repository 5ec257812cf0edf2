//! Documents that are made anew, and take the place of those that are used.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, PoisonError},
};

use sqlx::AssertSqlSafe;

use super::{Error, Writer};

/// Makes a new file as fast as it can be: nothing of it outlives a crash, so nothing waits for the
/// disk, and no page is written to a log first.
const IN_THE_MAKING: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF";

/// Counts and sums in which the new documents differ from the old ones, in words.
const TOTALS: &str = "
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
        (SELECT count(*) AS customers FROM main.customers) n,
        (SELECT count(*) AS customers FROM old.customers) o WHERE n.customers <> o.customers
    UNION ALL
    SELECT n.products || ' names of products instead of ' || o.products FROM
        (SELECT count(*) AS products FROM main.products) n,
        (SELECT count(*) AS products FROM old.products) o WHERE n.products <> o.products
    LIMIT 1";

/// Copies what only the old documents know, which is the state of the search index: the orders it
/// has still to be brought, and those it refuses. To the first it adds the orders that are otherwise
/// in the new documents.
const INHERIT: &str = "
    BEGIN IMMEDIATE;
    INSERT INTO main.again SELECT * FROM old.again WHERE true ON CONFLICT DO NOTHING;
    DELETE FROM main.parked WHERE projection = 'search';
    INSERT INTO main.parked SELECT * FROM old.parked WHERE projection = 'search';
    INSERT INTO main.again SELECT n.row, 1 FROM main.orders n LEFT JOIN old.orders o ON o.row = n.row
        WHERE o.body IS NOT n.body ON CONFLICT DO NOTHING;
    COMMIT";

/// As [`DURABILITY`] wants it.
const MADE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";

/// What has to hold of the counts and sums of documents that replace others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Totals {
    /// They have to be those of the documents that are replaced.
    Compared,
    /// They may be others: the new documents have been compared with the log.
    Proven,
}

impl Writer {
    /// Opens a file that is being made, and is thrown away if that is not brought to its end by
    /// [`Writer::finish`]: until then it has no indexes but what it needs itself, each of which
    /// costs more for an event than the event.
    ///
    /// # Errors
    /// When it is not a read model's file, or cannot be opened.
    pub async fn open_new(path: &Path, generation: u64) -> Result<Self, Error> {
        let mut writer = Self::open(path, generation).await?;
        let connection = &mut writer.connection;
        let indexes: Vec<(String, String)> = sqlx::query_as(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
        )
        .fetch_all(&mut *connection)
        .await?;
        sqlx::raw_sql(IN_THE_MAKING)
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

    /// Makes the indexes of a file of [`Writer::open_new`], and sees to it that all of it is on the
    /// disk.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn finish(&mut self) -> Result<(), Error> {
        for sql in std::mem::take(&mut self.indexes) {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut self.connection)
                .await?;
        }
        let path = self.path.clone();
        let synced = tokio::task::spawn_blocking(move || fs::File::open(path)?.sync_all());
        synced.await.map_err(io::Error::other)??;
        sqlx::raw_sql(MADE).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Replaces another writer, whose readers read from then on what this one writes. `switch` makes
    /// that last. What the search index has been brought of the old documents, and is otherwise in
    /// the new ones, it is to be brought again.
    ///
    /// # Errors
    /// - [`Error::Gap`]: the two are not at the same position.
    /// - [`Error::Differs`]: their counts or sums differ, and `totals` is [`Totals::Compared`].
    /// - A file cannot be read or written, or `switch` fails.
    ///
    /// The old one goes on then.
    pub async fn succeed(
        &mut self,
        old: &Self,
        totals: Totals,
        switch: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.position() != old.position() {
            return Err(Error::Gap {
                expected: old.position() + 1,
                given: self.position() + 1,
            });
        }
        self.settle().await?;
        sqlx::query("ATTACH ? AS old")
            .bind(old.path.to_string_lossy().into_owned())
            .execute(&mut self.connection)
            .await?;
        let inherited = self.inherit(totals).await;
        // Fails when a statement before it failed within its transaction, which then ends with it.
        let _ = sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await;
        sqlx::raw_sql("DETACH old")
            .execute(&mut self.connection)
            .await?;
        inherited?;
        let pools = old
            .pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut opened = Vec::new();
        for pool in &pools {
            opened.push(pool.open_beside(&self.path).await?);
        }
        switch()?;
        self.pools = Arc::clone(&old.pools);
        let position = self.position();
        self.position = old.position.clone();
        self.again = old.again.clone();
        for (pool, opened) in pools.iter().zip(opened) {
            pool.replace(opened);
        }
        self.position.send_replace(position);
        self.again.send_replace(());
        Ok(())
    }

    async fn inherit(&mut self, totals: Totals) -> Result<(), Error> {
        if totals == Totals::Compared {
            let different: Option<String> = sqlx::query_scalar(TOTALS)
                .fetch_optional(&mut self.connection)
                .await?;
            if let Some(different) = different {
                return Err(Error::Differs(different));
            }
        }
        sqlx::raw_sql(INHERIT).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Whether the file is sound and its statistics count the orders that are there; what is wrong,
    /// if anything is.
    ///
    /// # Errors
    /// When the file cannot be read.
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
