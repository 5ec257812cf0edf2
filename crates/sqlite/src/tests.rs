//! Tests that files are checked, opened and closed safely.

use std::time::Instant;

use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::*;

const SYNCHRONOUS: SqliteSynchronous = SqliteSynchronous::Full;

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
async fn writer_rejects_a_file_that_is_no_database_and_leaves_it_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let text = "a letter, not a database, and long enough to be read as a header. ".repeat(20);
    std::fs::write(&path, &text).unwrap();
    let refused = writer(&path, &migrations(&[1]), SYNCHRONOUS).await;
    assert!(
        matches!(refused, Err(Error::NotADatabase(_))),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn writer_rejects_a_database_of_another_program_and_leaves_it_unchanged() {
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
    let refused = writer(&path, &migrations(&[1]), SYNCHRONOUS).await;
    assert!(matches!(refused, Err(Error::Foreign(_))), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn writer_rejects_a_file_of_a_newer_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    close(
        writer(&path, &migrations(&[1, 2]), SYNCHRONOUS)
            .await
            .unwrap(),
    )
    .await;
    let refused = writer(&path, &migrations(&[1]), SYNCHRONOUS).await;
    assert!(matches!(refused, Err(Error::Newer(_))), "{refused:?}");
}

#[tokio::test]
async fn readers_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let writer = writer(&path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
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

#[tokio::test]
async fn reader_checks_a_file_and_leaves_it_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    std::fs::write(&path, "").unwrap();
    let refused = reader(&path, &migrations(&[1])).await;
    assert!(matches!(refused, Err(Error::Foreign(_))), "{refused:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    let mut writing = writer(&path, &migrations(&[1, 2]), SYNCHRONOUS)
        .await
        .unwrap();
    let refused = reader(&path, &migrations(&[1])).await;
    assert!(matches!(refused, Err(Error::Newer(_))), "{refused:?}");
    let mut reading = reader(&path, &migrations(&[1, 2, 3])).await.unwrap();
    let insert = "INSERT INTO t1 VALUES (1)";
    sqlx::raw_sql(insert)
        .execute(&mut reading)
        .await
        .unwrap_err();
    sqlx::raw_sql(insert).execute(&mut writing).await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM t1");
    let count: i64 = count.fetch_one(&mut reading).await.unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn file_closed_as_one_file_has_all_rows_and_no_other_file_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let mut writing = writer(&path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
    sqlx::raw_sql("INSERT INTO t1 VALUES (1)")
        .execute(&mut writing)
        .await
        .unwrap();
    close_as_one_file(&path, writing).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let mut read = reader(&path, &migrations(&[1])).await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM t1");
    let count: i64 = count.fetch_one(&mut read).await.unwrap();
    assert_eq!(count, 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn values_has_a_parameter_for_each_column_of_each_row() {
    let mut sql = String::new();
    values(&mut sql, 2, 3);
    assert_eq!(sql, "VALUES (?,?,?),(?,?,?)");
}

#[tokio::test]
async fn temporary_files_are_in_the_given_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("it's here");
    std::fs::create_dir(&folder).unwrap();
    keep_temporary_files_in(&folder).await.unwrap();
    let mut memory = SqliteConnectOptions::new()
        .in_memory(true)
        .connect()
        .await
        .unwrap();
    let used: String = sqlx::query_scalar("PRAGMA temp_store_directory")
        .fetch_one(&mut memory)
        .await
        .unwrap();
    assert_eq!(Path::new(&used), folder);
    keep_temporary_files_in(&dir.path().join("none"))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn g11_a_migration_sorts_in_files_and_later_statements_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let of_migration = "CREATE TABLE used (store INTEGER);
        INSERT INTO used SELECT temp_store FROM pragma_temp_store";
    let migration = Migration::new(
        1,
        "used".into(),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(of_migration),
        false,
    );
    let migrations = Migrator::with_migrations(vec![migration]);
    let path = dir.path().join("used.db");
    let mut connection = writer(&path, &migrations, SYNCHRONOUS).await.unwrap();
    let used: (i64, i64) = sqlx::query_as("SELECT store, temp_store FROM used, pragma_temp_store")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    // 1 is a file, and 2 is memory.
    assert_eq!(used, (1, 2));
}

/// Writes 256 MiB in batches beside two reads that overlap, and returns the largest size of the
/// write-ahead log.
async fn largest_wal(path: &Path, is_limited: bool) -> u64 {
    let mut connection = writer(path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
    let mut limit = None;
    if is_limited {
        // After one reset that gives up, the log would grow until the end.
        let (wait, interval) = (Duration::from_secs(10), Duration::from_secs(3600));
        let new = WalLimit::new(path, &mut connection, wait, interval);
        limit = Some(new.await.unwrap());
    }
    let pool = readers(path, 2).await.unwrap();
    let overlapping = |delay: u64| {
        let pool = pool.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            loop {
                let mut read = pool.begin().await.unwrap();
                let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t1");
                count.fetch_one(&mut *read).await.unwrap();
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        })
    };
    let reads = [overlapping(0), overlapping(20)];
    let mut largest = 0;
    for _ in 0..256 {
        sqlx::query("INSERT INTO t1 VALUES (zeroblob(1048576))")
            .execute(&mut connection)
            .await
            .unwrap();
        if let Some(limit) = &mut limit {
            limit.enforce(&mut connection).await.unwrap();
        }
        largest = largest.max(std::fs::metadata(wal_path(path)).unwrap().len());
    }
    for read in reads {
        read.abort();
    }
    largest
}

#[tokio::test(flavor = "multi_thread")]
async fn the_write_ahead_log_stays_small_beside_overlapping_reads() {
    let dir = tempfile::tempdir().unwrap();
    let limited = largest_wal(&dir.path().join("limited.db"), true).await;
    assert!(limited < 64 << 20, "{limited}");
    let unlimited = largest_wal(&dir.path().join("unlimited.db"), false).await;
    assert!(
        unlimited > 64 << 20,
        "the reads do not overlap: {unlimited}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_gives_up_beside_a_long_read_and_the_log_shrinks_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let mut connection = writer(&path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
    let pool = readers(&path, 1).await.unwrap();
    let mut read = pool.begin().await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t1");
    count.fetch_one(&mut *read).await.unwrap();
    let wait = Duration::from_millis(1);
    let limit = WalLimit::new(&path, &mut connection, wait, Duration::ZERO);
    let mut limit = limit.await.unwrap();
    let mut write = async || {
        let insert = sqlx::query("INSERT INTO t1 VALUES (zeroblob(1048576))");
        insert.execute(&mut connection).await.unwrap();
        limit.enforce(&mut connection).await.unwrap();
        std::fs::metadata(wal_path(&path)).unwrap().len()
    };
    for _ in 0..100 {
        write().await;
    }
    assert!(write().await > 100 << 20, "the read uses all of it");
    read.rollback().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while write().await >= 64 << 20 {
        assert!(Instant::now() < deadline, "it does not begin anew");
    }
    limit.close().await;
}

#[tokio::test]
async fn a_writer_that_checks_nothing_moves_the_pages_of_a_large_log_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let mut connection = writer(&path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
    let limit = WalLimit::new(&path, &mut connection, Duration::ZERO, Duration::ZERO);
    let limit = limit.await.unwrap();
    for _ in 0..128 {
        let insert = sqlx::raw_sql("INSERT INTO t1 VALUES (zeroblob(1048576))");
        insert.execute(&mut connection).await.unwrap();
    }
    let size = std::fs::metadata(wal_path(&path)).unwrap().len();
    assert!(size < 64 << 20, "{size}");
    limit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_reach_the_main_file_while_the_writer_is_in_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let mut connection = writer(&path, &migrations(&[1]), SYNCHRONOUS).await.unwrap();
    let limit = WalLimit::new(&path, &mut connection, Duration::ZERO, Duration::ZERO);
    let mut limit = limit.await.unwrap();
    let insert = "INSERT INTO t1 VALUES (zeroblob(9437184))";
    sqlx::raw_sql(insert)
        .execute(&mut connection)
        .await
        .unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    assert!(before < 9 << 20, "no commit moves pages: {before}");
    limit.enforce(&mut connection).await.unwrap();
    let mut open = connection.begin().await.unwrap();
    sqlx::raw_sql(insert).execute(&mut *open).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(&path).unwrap().len() < 9 << 20 {
        assert!(Instant::now() < deadline, "the pages are not moved");
        tokio::task::yield_now().await;
    }
    open.commit().await.unwrap();
    limit.close().await;
    close(connection).await;
}
