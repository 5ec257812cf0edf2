//! Finds the names that a text index may not show yet.

use super::{Error, Reader};

/// Maximum number of new names that are examined. With more, every search counts as concerned.
const MAX_NAMES: i64 = 50;

const SELECT_NEW_NAMES: &str = "
    SELECT position, name, previous_position, previous_name FROM customers WHERE position > ?1
    UNION ALL
    SELECT position, name, previous_position, previous_name FROM products WHERE position > ?1
    ORDER BY position LIMIT ?2";

/// A row of [`SELECT_NEW_NAMES`].
#[derive(sqlx::FromRow)]
struct NewName {
    #[sqlx(try_from = "i64")]
    position: u64,
    name: String,
    previous_position: Option<i64>,
    previous_name: Option<String>,
}

impl NewName {
    /// Returns whether an event after `position` has given the name before this one, or a name that
    /// is unknown was there.
    fn hides_others(&self, position: u64) -> bool {
        self.previous_position.is_some_and(|previous| {
            previous.cast_unsigned() > position || self.previous_name.is_none()
        })
    }
}

impl Reader {
    /// Returns the position up to which the new names do not concern a search, in an index that
    /// shows the names up to a position. `concern` tells which names do.
    ///
    /// A new name concerns a search if it, or the name that it replaced, does.
    ///
    /// # Errors
    /// [`Error::Sqlite`]: the file cannot be read.
    pub async fn unconcerned_until(
        &self,
        shown: u64,
        concern: impl FnOnce(&[&str]) -> Vec<bool>,
    ) -> Result<u64, Error> {
        let mut snapshot = self.snapshot().await?;
        let names: Vec<NewName> = sqlx::query_as(SELECT_NEW_NAMES)
            .bind(shown.cast_signed())
            .bind(MAX_NAMES)
            .fetch_all(snapshot.connection())
            .await?;
        let is_all = (names.len() as i64) < MAX_NAMES;
        if !is_all || names.iter().any(|name| name.hides_others(shown)) {
            return Ok(shown);
        }
        let texts = names.iter().flat_map(|name| {
            let previous = name.previous_name.as_deref().unwrap_or_default();
            [name.name.as_str(), previous]
        });
        let concern = concern(&texts.collect::<Vec<_>>());
        let first = concern.chunks(2).position(|each| each.contains(&true));
        let first = first.and_then(|index| names.get(index));
        Ok(first.map_or(snapshot.as_of, |name| name.position - 1))
    }
}
