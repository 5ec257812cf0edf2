//! Provides databases of a real Postgres: the server of `TEST_DATABASE_URL`, or else a throw-away
//! cluster made from installed binaries.

mod pooler;
mod replicated;

use std::{
    env,
    ffi::OsStr,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

pub use pooler::Pooler;
pub use replicated::{Replicated, Replication, Urls};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions,
};
use uuid::Uuid;

use crate::{on_path, wait_until};

/// Creates and serves a cluster until standard input closes, then deletes it. The pipe closes when
/// the test process ends, whatever the cause. A cluster with a primary begins as its standby. The
/// data is disposable, so nothing is synced.
const CLUSTER: &str = r#"
    set -e
    case "$4" in
    "") "$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$2/log" ;;
    *) "$1/pg_basebackup" -D "$2/data" -d "$4" -R -c fast --no-sync >"$2/log" ;;
    esac
    echo "$3" >>"$2/data/postgresql.conf"
    "$1/pg_ctl" -D "$2/data" -l "$2/log" -w start >/dev/null
    echo ready
    cat >/dev/null
    "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$2"
"#;

/// The port of a cluster that listens only on a socket, whose file name ends with it.
const PORT: u16 = 5432;

/// Creates an empty database and returns its URL.
///
/// # Panics
/// Panics if no Postgres is available, or if it cannot create the database.
pub async fn database() -> String {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    match env::var("TEST_DATABASE_URL") {
        Ok(server) => new_database(&server).await,
        Err(_) => SHARED.get_or_init(|| Cluster::start("")).database().await,
    }
}

/// Returns the address of the server in `url`, as [`crate::Proxy::to`] takes it. The second value
/// is the URL of the same database at `address`.
///
/// # Panics
/// Panics if `url` is not a Postgres URL.
#[must_use]
pub fn at(url: &str, address: &str) -> (String, String) {
    let options: PgConnectOptions = url.parse().unwrap();
    let server = match options.get_socket() {
        Some(folder) => folder
            .join(format!(".s.PGSQL.{}", options.get_port()))
            .display()
            .to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let (url, parameters) = url.split_once('?').unwrap_or((url, ""));
    let user = url.rsplit_once('@').map_or("", |(before, _)| before);
    let parameters: Vec<_> = parameters
        .split('&')
        .filter(|parameter| !parameter.starts_with("host=") && !parameter.starts_with("port="))
        .collect();
    let database = options.get_database().unwrap_or_default();
    let parameters = parameters.join("&");
    (server, format!("{user}@{address}/{database}?{parameters}"))
}

/// Terminates all other connections to the database of `connection`.
///
/// # Panics
/// Panics if the query fails.
pub async fn terminate_others(connection: &mut PgConnection) {
    sqlx::raw_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(connection)
    .await
    .unwrap();
}

/// Waits until a session of the database waits for an advisory lock.
///
/// # Panics
/// Panics if a query fails, or if no session waits within [`crate::DEADLINE`].
pub async fn wait_for_advisory_lock(connection: &mut PgConnection) {
    wait_until("a session waits for an advisory lock", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let waiting: i64 = sqlx::query_scalar(waiting)
            .fetch_one(&mut *connection)
            .await
            .unwrap();
        waiting > 0
    })
    .await;
}

async fn new_database(server: &str) -> String {
    let name = format!("orderlog_test_{}", Uuid::now_v7().simple());
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    match server.split_once('?') {
        Some((before, parameters)) => format!("{}/{name}?{parameters}", without_database(before)),
        None => format!("{}/{name}", without_database(server)),
    }
}

/// Returns the `postgres://user@host` part of a URL that may name a database.
fn without_database(url: &str) -> &str {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    match url[host..].find('/') {
        Some(slash) => &url[..host + slash],
        None => url,
    }
}

/// A throw-away cluster. Dropping this value stops the cluster, and so does the end of the test
/// process.
#[derive(Debug)]
pub struct Cluster {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Dropping the child closes its standard input, which stops the cluster.
    _process: Child,
}

impl Cluster {
    /// Starts a cluster that listens on a socket in its folder. `configuration` is appended to
    /// `postgresql.conf`.
    ///
    /// # Panics
    /// Panics if Postgres is not installed or does not start.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        Self::with(PORT, configuration, &[], None)
    }

    /// Starts a cluster that also listens with TLS on the returned port. The certificate is
    /// self-signed: clients must trust `server.crt` in [`Cluster::folder`].
    ///
    /// # Panics
    /// Panics if Postgres is not installed or does not start.
    #[must_use]
    pub fn start_with_tls() -> (Self, u16) {
        let names = vec!["localhost".to_owned()];
        let signed = rcgen::generate_simple_self_signed(names).unwrap();
        // The operating system picks ephemeral ports from a higher range, so it does not assign
        // this port meanwhile.
        let port = (0..1000)
            .map(|_| 20_000 + (Uuid::now_v7().as_u128() % 10_000) as u16)
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let configuration = "listen_addresses = 'localhost'\nssl = on\n\
             ssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'";
        let files = [
            ("server.crt", signed.cert.pem()),
            ("server.key", signed.signing_key.serialize_pem()),
        ];
        (Self::with(port, configuration, &files, None), port)
    }

    fn with(
        port: u16,
        configuration: &str,
        files: &[(&str, String)],
        primary: Option<&Self>,
    ) -> Self {
        let binaries = binaries().expect("Postgres is installed");
        let folder = env::temp_dir().join(format!("orderlog-{}", Uuid::now_v7().simple()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        for (name, content) in files {
            fs::write(folder.join(name), content).unwrap();
            fs::set_permissions(folder.join(name), Permissions::from_mode(0o600)).unwrap();
        }
        if fs::metadata(&folder).unwrap().uid() == 0
            && let Some((user, group)) = unprivileged()
        {
            let names = files.iter().map(|(name, _)| folder.join(name));
            for path in names.chain([folder.clone()]) {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let configuration = format!(
            "listen_addresses = ''\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 300\n{configuration}",
            folder.display()
        );
        let mut command = command(&folder, "sh");
        command
            .args(["-c", CLUSTER, "sh"])
            .args([&binaries, &folder])
            .arg(configuration)
            .arg(primary.map(Self::server).unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "the cluster does not start");
        Self {
            binaries,
            folder,
            port,
            _process: process,
        }
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Panics
    /// Panics if the database cannot be created.
    pub async fn database(&self) -> String {
        new_database(&self.server()).await
    }

    /// Returns the URL of the database `postgres`.
    fn server(&self) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!("postgres://postgres@localhost/postgres?host={folder}&port={port}")
    }

    /// Returns the folder that holds the socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the cluster ask the existing `user` for a password. Other users need none.
    ///
    /// # Panics
    /// Panics if the rule cannot be written or loaded.
    pub async fn require_passwords(&self, user: &str) {
        let rules = self.folder.join("data/pg_hba.conf");
        let others = fs::read_to_string(&rules).unwrap();
        fs::write(rules, format!("local all {user} scram-sha-256\n{others}")).unwrap();
        let mut connection = PgConnection::connect(&self.server()).await.unwrap();
        sqlx::raw_sql("SELECT pg_reload_conf()")
            .execute(&mut connection)
            .await
            .unwrap();
        let options: PgConnectOptions = self.server().parse().unwrap();
        let without_password = options.username(user);
        wait_until("the rule is loaded", async || {
            without_password.connect().await.is_err()
        })
        .await;
    }

    /// Stops the cluster immediately, without waiting for clients to disconnect.
    ///
    /// # Panics
    /// Panics if the cluster does not stop.
    pub fn stop(&self) {
        self.control("stop");
    }

    /// Starts the cluster after [`Cluster::stop`].
    ///
    /// # Panics
    /// Panics if the cluster does not start.
    pub fn start_again(&self) {
        self.control("start");
    }

    fn control(&self, what: &str) {
        let mut control = command(&self.folder, self.binaries.join("pg_ctl"));
        control.arg("-D").arg(self.folder.join("data"));
        control.arg("-l").arg(self.folder.join("log"));
        control.args(["-w", "-m", "immediate", what]);
        let status = control.stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{what}");
    }
}

/// Builds a command that runs in the folder of the cluster, as the owner of the folder.
fn command(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let owner = fs::metadata(folder).unwrap();
    let mut command = Command::new(program);
    command.uid(owner.uid()).gid(owner.gid());
    command.current_dir(folder);
    command
}

/// Returns the user and group to run as instead of root: `postgres`, or else `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
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

/// Finds the newest installed binaries. Debian keeps them outside the `PATH`.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok();
    let mut versions: Vec<_> = versions
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    let elsewhere = on_path("initdb").and_then(|initdb| Some(initdb.parent()?.to_owned()));
    versions.pop().or(elsewhere)
}
