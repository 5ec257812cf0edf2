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

/// What only the old documents knew: what the search index has still to be brought, and what it
/// refuses; and the orders that are otherwise in the new ones.
const INHERIT: &str = "
    BEGIN IMMEDIATE;
    INSERT INTO main.again SELECT * FROM old.again WHERE true ON CONFLICT DO NOTHING;
    INSERT INTO main.parked SELECT * FROM old.parked WHERE projection = 'search'
        ON CONFLICT DO NOTHING;
    INSERT INTO main.again SELECT n.row, 1 FROM main.orders n LEFT JOIN old.orders o ON o.row = n.row
        WHERE o.body IS NOT n.body AND n.position <= (SELECT position FROM old.checkpoint)
        ON CONFLICT DO NOTHING;
    COMMIT";

/// As [`DURABILITY`] wants it.
const MADE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL";

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

    /// Takes the place of another writer, which is at most as far: who has read what that one wrote
    /// reads from now on what this one does. `switch` makes that last. What the search index has been
    /// brought of the old documents, and is otherwise in the new ones, it is to be brought again.
    ///
    /// # Errors
    /// When a file cannot be read or written, or `switch` fails; the old one goes on then.
    pub async fn succeed(
        &mut self,
        old: &Self,
        switch: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Error> {
        self.inherit(old).await?;
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
        self.position = old.position.clone();
        self.again = old.again.clone();
        for (pool, opened) in pools.iter().zip(opened) {
            pool.replace(opened);
        }
        let position = self.checkpoint.as_ref().map_or(0, |c| c.position);
        self.position.send_replace(position);
        self.again.send_replace(());
        Ok(())
    }

    async fn inherit(&mut self, old: &Self) -> Result<(), Error> {
        sqlx::query("ATTACH ? AS old")
            .bind(old.path.to_string_lossy().into_owned())
            .execute(&mut self.connection)
            .await?;
        let inherited = sqlx::raw_sql(INHERIT).execute(&mut self.connection).await;
        // Fails when a statement before it failed within its transaction, which then ends with it.
        let _ = sqlx::raw_sql("ROLLBACK")
            .execute(&mut self.connection)
            .await;
        sqlx::raw_sql("DETACH old")
            .execute(&mut self.connection)
            .await?;
        inherited?;
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
