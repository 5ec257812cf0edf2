//! Tests of rebuild and verify on the command line, also when the process dies meanwhile.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use test_support::{DEADLINE, order, sqlite};

use crate::{
    binary::{failed, orderlog, start},
    load::read_own_write,
};

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
async fn g9_a_rebuild_killed_at_any_moment_leaves_a_complete_generation() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    process.clients().await.create_many("o", 1000).await;
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
async fn rebuild_verify_and_rollback_report_their_results_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    process.clients().await.create_many("o", 20).await;
    let verified = "log: as it should be, up to 20\ndocuments: as it should be, up to 20\n\
                search: as it should be, up to 20\n";
    assert_eq!(process.ask(["verify"]), verified);
    let printed = process.ask(["rebuild"]);
    assert_eq!(
        printed,
        "documents: generation 2 answers, at position 20\n\
         search: generation 2 answers, at position 20\n"
    );
    failed(&process.run(["rebuild", "everything"]), 2);

    sqlite::run(
        &folder.path().join("read.db"),
        "DELETE FROM orders WHERE order_id = 'o-7'",
    )
    .await;
    let output = process.run(["verify", "documents"]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("order o-7 is missing\n"), "{printed}");
    assert!(
        printed.ends_with("documents: 1 difference, up to 20\n"),
        "{printed}"
    );
    let printed = process.run(["verify", "documents", "--json"]).stdout;
    let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    assert_eq!(printed["part"], "documents");
    assert_eq!(printed["finished"], true);

    let printed = process.ask(["rebuild", "documents", "--rollback"]);
    assert_eq!(printed, "documents: generation 1 answers, at position 20\n");
    process.ask(["verify"]);
    let printed = process.ask(["rebuild", "search", "--json"]);
    let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed["generation"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_aggregates_are_listed_and_retried_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let process = start(folder.path());
    assert_eq!(process.ask(["parked", "list"]), "nothing is parked\n");
    let mut clients = process.clients().await;
    clients.create_many("o", 1).await;
    let named = order::customer("ann", "Ann Müller");
    let named = clients.register_customer(named).await.unwrap().position;
    let parked = format!(
        "INSERT INTO parked VALUES ('documents', 1, 'o-0', 1, 'a reason', 2),
            ('documents', 2, 'ann', {named}, 'another', 1)"
    );
    sqlite::run(&folder.path().join("read.db"), &parked).await;
    let printed = process.ask(["parked", "list"]);
    let words: Vec<_> = printed.split_whitespace().collect();
    let expected = format!(
        "PROJECTION AGGREGATE POSITION EVENTS ERROR documents customer ann {named} 1 another \
         documents order o-0 1 2 a reason"
    );
    assert_eq!(words.join(" "), expected);
    assert!(process.ask(["status"]).contains("documents"));
    assert_eq!(
        process.ask(["parked", "list", "--projection", "search"]),
        "nothing is parked\n"
    );
    let printed = process.ask(["parked", "retry", "o-0"]);
    assert_eq!(printed, "recovered 1, 0 parked still\n");
    assert!(process.ask(["parked", "list"]).contains("customer ann"));
    let printed = process.ask(["parked", "retry", "--customer", "ann"]);
    assert_eq!(printed, "recovered 1, 0 parked still\n");
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
async fn g8_a_text_search_finds_a_write_while_every_processor_is_busy() {
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
