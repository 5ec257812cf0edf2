//! Tests of rebuild and verify on the command line, also when the process dies meanwhile.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use e2e::Process;
use sqlx::{AssertSqlSafe, ConnectOptions as _, sqlite::SqliteConnectOptions};
use test_support::{DEADLINE, order};

use crate::{
    binary::{orderlog, start},
    load::read_own_write,
};

async fn fill(process: &Process, orders: usize) {
    let mut clients = process.clients().await;
    for index in 0..orders {
        let create = order::create(&format!("o-{index}"), &format!("c-{}", index % 9));
        clients.commands.create_order(create).await.unwrap();
    }
}

async fn change(file: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut other = options.connect().await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
}

/// Returns the names of the read models in the data folder, without the `-wal` and `-shm` files of
/// SQLite.
fn read_models(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("read") || name.starts_with("search"))
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn g9_a_rebuild_that_is_killed_at_any_moment_leaves_one_whole_generation() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    fill(&process, 1000).await;
    drop(process);
    for delay in [0, 5, 20, 40, 60, 90, 130, 200] {
        let process = start(folder.path());
        let rebuilding = orderlog()
            .args(["rebuild", "--server", process.url()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // The test varies this delay, so it sleeps instead of polling a condition.
        thread::sleep(Duration::from_millis(delay));
        process.kill();
        rebuilding.unwrap().wait().unwrap();
        let process = start(folder.path());
        process.ask(["verify"]);
        let left = read_models(folder.path());
        assert!(
            !left.iter().any(|name| name.contains("unfinished")),
            "{left:?}"
        );
        // Each prefix has the link, its target and possibly one previous generation.
        for prefix in ["read", "search"] {
            let count = left.iter().filter(|name| name.starts_with(prefix)).count();
            assert!((2..=3).contains(&count), "{delay}: {left:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_and_what_is_wrong_are_told_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    fill(&process, 20).await;
    let told = process.ask(["verify"]);
    let fine = "log: as it should be, up to 20\ndocuments: as it should be, up to 20\n\
                search: as it should be, up to 20\n";
    assert_eq!(told, fine);
    let told = process.ask(["rebuild"]);
    assert_eq!(
        told,
        "documents: generation 2 answers, at position 20\n\
         search: generation 2 answers, at position 20\n"
    );
    let none = process.run(["rebuild", "everything"]);
    assert_eq!(none.status.code(), Some(2));

    change(
        &folder.path().join("read.db"),
        "DELETE FROM orders WHERE order_id = 'o-7'",
    )
    .await;
    let output = process.run(["verify", "documents"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("order o-7 is missing\n"), "{told}");
    assert!(
        told.ends_with("documents: 1 difference, up to 20\n"),
        "{told}"
    );
    let told = process.run(["verify", "documents", "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["part"], "documents");
    assert_eq!(told["finished"], true);

    let told = process.ask(["rebuild", "documents", "--rollback"]);
    assert_eq!(told, "documents: generation 1 answers, at position 20\n");
    process.ask(["verify"]);
    let told = process.ask(["rebuild", "search", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["generation"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_orders_are_told_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    assert_eq!(process.ask(["parked", "list"]), "nothing is parked\n");
    fill(&process, 1).await;
    let parked = "INSERT INTO parked VALUES ('documents', 'o-0', 1, 'a reason', 2)";
    change(&folder.path().join("read.db"), parked).await;
    let told = process.ask(["parked", "list"]);
    let words: Vec<_> = told.split_whitespace().collect();
    let expected = "PROJECTION ORDER POSITION EVENTS ERROR documents o-0 1 2 a reason";
    assert_eq!(words.join(" "), expected);
    assert!(process.ask(["status"]).contains("documents"));
    assert_eq!(
        process.ask(["parked", "list", "--projection", "search"]),
        "nothing is parked\n"
    );
    let told = process.ask(["parked", "retry", "o-0"]);
    assert_eq!(told, "recovered 1, 0 parked still\n");
    assert_eq!(process.ask(["parked", "list"]), "nothing is parked\n");
}

/// Processes that keep every processor busy until they are dropped.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Self {
        let processors = thread::available_parallelism().unwrap().get();
        let busy = (0..processors).map(|_| {
            let mut busy = Command::new("yes");
            busy.stdout(Stdio::null()).spawn().unwrap()
        });
        Self(busy.collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for busy in &mut self.0 {
            busy.kill().unwrap();
            busy.wait().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g8_a_text_search_finds_a_write_while_other_processes_take_every_processor() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    let mut clients = process.clients().await;
    let _busy = Busy::start();
    // A starved index takes far longer, a yielding one far less.
    let ten = async {
        for index in 0..10 {
            read_own_write(&mut clients, &format!("o-{index}")).await;
        }
    };
    tokio::time::timeout(DEADLINE, ten).await.expect("in time");
}
