//! A PgBouncer in front of a throw-away cluster.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
};

use sqlx::{Connection as _, PgConnection};

use super::{Cluster, command};
use crate::{on_path, wait_until};

/// Runs the pooler until standard input closes, as when the test process ends.
const POOLER: &str = r#"
    "$1" -q "$2" 2>"$2.log" &
    cat >/dev/null
    kill $!
"#;

/// The port of the pooler, which listens only on a socket in the cluster's folder.
const POOLER_PORT: u16 = 6432;

/// A PgBouncer in session mode, with the settings of its package. Dropping this value stops it.
#[derive(Debug)]
pub struct Pooler {
    /// Dropping the child closes its standard input, which stops the pooler.
    _process: Child,
}

impl Pooler {
    /// Starts a pooler for all databases of `cluster`. One cluster has one pooler.
    ///
    /// # Panics
    /// Panics if PgBouncer is not installed or does not start.
    pub async fn start(cluster: &Cluster) -> Self {
        let debian = PathBuf::from("/usr/sbin/pgbouncer");
        let program = on_path("pgbouncer").unwrap_or(debian);
        assert!(program.exists(), "PgBouncer is installed");
        let folder = cluster.folder();
        let (users, configuration) = (folder.join("users.txt"), folder.join("pgbouncer.ini"));
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let settings = format!(
            "[databases]\n* = host={folder} port={port}\n[pgbouncer]\npool_mode = session\n\
             auth_type = trust\nauth_file = {users}\nlisten_port = {POOLER_PORT}\n\
             unix_socket_dir = {folder}\n",
            folder = folder.display(),
            port = cluster.port,
            users = users.display(),
        );
        fs::write(&configuration, settings).unwrap();
        let mut process = command(folder, "sh");
        process.args(["-c", POOLER, "sh"]).arg(program);
        let process = process.arg(configuration).stdin(Stdio::piped()).spawn();
        let pooler = Self {
            _process: process.unwrap(),
        };
        wait_until("the pooler answers", async || {
            let url = Self::url(&cluster.server());
            // A pooler passes fewer parameters on than a server.
            let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
            let options = options.extra_float_digits(None);
            PgConnection::connect_with(&options).await.is_ok()
        })
        .await;
        pooler
    }

    /// Returns the URL of a database of the cluster, through the pooler.
    #[must_use]
    pub fn url(database: &str) -> String {
        format!("{database}&port={POOLER_PORT}")
    }
}
