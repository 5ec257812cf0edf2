use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::*;

const DURABILITY: Durability = Durability {
    every_commit: true,
    checkpoint_pages: 1000,
};

fn migrations(versions: &[i64]) -> Migrator {
    Migrator::with_migrations(
        versions
            .iter()
            .map(|version| {
                let sql = sqlx::AssertSqlSafe(format!("CREATE TABLE t{version} (a)"));
                Migration::new(
                    *version,
                    "a table".into(),
                    MigrationType::Simple,
                    sqlx::SqlSafeStr::into_sql_str(sql),
                    false,
                )
            })
            .collect(),
    )
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::own(dir.path()).unwrap();
    assert!(matches!(Folder::own(dir.path()), Err(Error::Owned(_))));
    drop(first);
    Folder::own(dir.path()).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let text = "a letter, not a database, and long enough to be read as a header. ".repeat(20);
    std::fs::write(&path, &text).unwrap();
    let refused = writer(&path, &migrations(&[1]), DURABILITY).await;
    assert!(
        matches!(refused, Err(Error::NotADatabase(_))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let mut other = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE theirs (a)")
        .execute(&mut other)
        .await
        .unwrap();
    close(other).await;
    let before = std::fs::read(&path).unwrap();
    let refused = writer(&path, &migrations(&[1]), DURABILITY).await;
    assert!(matches!(refused, Err(Error::Foreign(_))), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    close(
        writer(&path, &migrations(&[1, 2]), DURABILITY)
            .await
            .unwrap(),
    )
    .await;
    let refused = writer(&path, &migrations(&[1]), DURABILITY).await;
    assert!(matches!(refused, Err(Error::Newer(_))), "{refused:?}");
}

#[tokio::test]
async fn readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let writer = writer(&path, &migrations(&[1]), DURABILITY).await.unwrap();
    let readers = readers(&path, 1).await.unwrap();
    sqlx::raw_sql("SELECT * FROM t1")
        .execute(&readers)
        .await
        .unwrap();
    sqlx::raw_sql("INSERT INTO t1 VALUES (1)")
        .execute(&readers)
        .await
        .unwrap_err();
    close(writer).await;
}

#[test]
fn values_has_a_parameter_for_each_column_of_each_row() {
    let mut sql = String::new();
    values(&mut sql, 2, 3);
    assert_eq!(sql, "VALUES (?,?,?),(?,?,?)");
}
