//! Databases of a real Postgres: of `TEST_DATABASE_URL`, else of a throw-away cluster that is made
//! from installed binaries. Where there are none, tests are skipped, loudly; with
//! `REQUIRE_POSTGRES` set they fail.

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

/// Makes a cluster, serves it on a socket in its folder until standard input ends, however this
/// process does, and leaves nothing behind. Nothing in it is worth waiting for the disk.
const CLUSTER: &str = r#"
    set -e
    "$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/log"
    "$1/pg_ctl" -D "$2/data" -l "$2/log" -w -o "-c listen_addresses= -c unix_socket_directories=$2 \
        -c fsync=off -c max_connections=300" start >/dev/null
    echo ready
    cat >/dev/null
    "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null
    rm -rf "$2"
"#;

/// The URL of a new, empty database; `None` when there is no Postgres.
///
/// # Panics
/// When there is one, but it does not work; or when there is none and there has to be.
pub async fn database() -> Option<String> {
    let server = server()?;
    let name = format!("orderlog_test_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    Some(match server.split_once('?') {
        Some((before, parameters)) => format!("{}/{name}?{parameters}", without_database(before)),
        None => format!("{}/{name}", without_database(server)),
    })
}

/// `postgres://user@host` of a URL that may name a database.
fn without_database(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    match url[host..].find('/') {
        Some(slash) => &url[..host + slash],
        None => url,
    }
}

fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<String>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let server = env::var("TEST_DATABASE_URL").ok().or_else(throw_away);
        if server.is_none() {
            assert!(env::var_os("REQUIRE_POSTGRES").is_none(), "no Postgres");
            eprintln!("SKIPPED: no Postgres is installed, nor named by TEST_DATABASE_URL");
        }
        server
    });
    server.as_deref()
}

fn throw_away() -> Option<String> {
    static CLUSTER_PROCESS: OnceLock<Child> = OnceLock::new();
    let binaries = binaries()?;
    let folder = env::temp_dir().join(format!("orderlog-{}", Uuid::now_v7().simple()));
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", CLUSTER, "sh"])
        .args([&binaries, &folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some((user, group)) = unprivileged(&folder) {
        chown(&folder, Some(user), Some(group)).unwrap();
        command.uid(user).gid(group);
    }
    let mut process = command.current_dir(&folder).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(process.stdout.take().unwrap())
        .read_line(&mut told)
        .unwrap();
    assert_eq!(told, "ready\n", "the cluster does not start");
    // Its standard input ends with this process.
    CLUSTER_PROCESS.get_or_init(|| process);
    Some(format!(
        "postgres://postgres@localhost/postgres?host={}",
        folder.display()
    ))
}

/// Postgres does not run as root: whom to run it as, if we are.
fn unprivileged(folder: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata(folder).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let entry = |name: &str| {
        users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name)
            .map(|fields| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    };
    entry("postgres").or_else(|| entry("nobody"))
}

/// The newest installed binaries: Debian keeps them off the path.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok();
    let mut versions: Vec<_> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    let on_path = env::var_os("PATH")
        .and_then(|path| env::split_paths(&path).find(|folder| folder.join("initdb").exists()));
    versions.pop().or(on_path)
}
