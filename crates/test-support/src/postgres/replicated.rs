//! Two servers with streaming replication, for tests of failovers.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{Cluster, PORT};
use crate::wait_until;

/// Tells whether a commit waits for the standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// A commit is acknowledged once the standby has it too.
    Synchronous,
    /// The standby may lack acknowledged commits.
    Asynchronous,
}

/// A primary and its standby. Dropping this value stops both.
#[derive(Debug)]
pub struct Replicated {
    /// The server that takes writes at first.
    pub primary: Cluster,
    /// The copy of the primary, which is read-only until [`Replicated::promote`].
    pub standby: Cluster,
}

/// The URLs of one database on both servers.
#[derive(Debug, Clone)]
pub struct Urls {
    /// Names both servers, as nodes use it. sqlx does not read such a URL.
    pub both: String,
    /// Names the primary only.
    pub primary: String,
    /// Names the standby only.
    pub standby: String,
}

impl Replicated {
    /// Starts a primary, and a standby that follows it. Each listens on a socket in its folder.
    ///
    /// # Panics
    /// Panics if Postgres is not installed, or if a server does not start.
    pub async fn start(replication: Replication) -> Self {
        // The standby begins with a copy of the primary's settings.
        let (of_primary, of_standby) = match replication {
            Replication::Synchronous => (
                "synchronous_standby_names = '*'",
                "synchronous_standby_names = ''",
            ),
            Replication::Asynchronous => ("", ""),
        };
        let primary = Cluster::start(of_primary);
        let standby = Cluster::with(PORT, of_standby, &[], Some(&primary));
        let replicated = Self { primary, standby };
        replicated.wait_for_standby().await;
        replicated
    }

    /// Creates an empty database, and waits until the standby has it.
    ///
    /// # Panics
    /// Panics if the database cannot be created, or does not reach the standby.
    pub async fn database(&self) -> Urls {
        let primary = self.primary.database().await;
        let folder = |cluster: &Cluster| cluster.folder().display().to_string();
        let (own, other) = (folder(&self.primary), folder(&self.standby));
        let urls = Urls {
            both: primary.replace(&own, &format!("{own},{other}")),
            standby: primary.replace(&own, &other),
            primary,
        };
        wait_until("the standby has the database", async || {
            PgConnection::connect(&urls.standby).await.is_ok()
        })
        .await;
        urls
    }

    /// Ends the primary at once, without a last message to the standby.
    ///
    /// # Panics
    /// Panics if the primary does not run.
    pub fn kill_primary(&self) {
        self.primary.stop();
    }

    /// Makes the standby take writes. Returns when it does.
    ///
    /// # Panics
    /// Panics if the standby does not run, or is not promoted within 60 s.
    pub async fn promote(&self) {
        let mut standby = PgConnection::connect(&self.standby.server()).await.unwrap();
        let promoted: bool = sqlx::query_scalar("SELECT pg_promote()")
            .fetch_one(&mut standby)
            .await
            .unwrap();
        assert!(promoted, "the standby is not promoted");
    }

    /// Cuts the standby off: it lacks all later commits. With synchronous replication, commits wait.
    ///
    /// # Panics
    /// Panics if a server does not run.
    pub async fn pause_replication(&self) {
        self.follow("").await;
        self.wait_for_standbys(0).await;
    }

    /// Lets the standby catch up and follow, after [`Replicated::pause_replication`].
    ///
    /// # Panics
    /// Panics if a server does not run.
    pub async fn resume_replication(&self) {
        let folder = self.primary.folder().display();
        self.follow(&format!("host={folder} port={PORT} user=postgres"))
            .await;
        self.wait_for_standby().await;
    }

    async fn follow(&self, primary: &str) {
        let mut standby = PgConnection::connect(&self.standby.server()).await.unwrap();
        let set = format!("ALTER SYSTEM SET primary_conninfo = '{primary}'");
        for sql in [set.as_str(), "SELECT pg_reload_conf()"] {
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut standby)
                .await
                .unwrap();
        }
    }

    async fn wait_for_standby(&self) {
        self.wait_for_standbys(1).await;
    }

    async fn wait_for_standbys(&self, count: i64) {
        let mut primary = PgConnection::connect(&self.primary.server()).await.unwrap();
        wait_until(format!("{count} standbys follow"), async || {
            let following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'
                AND (sync_state = 'sync' OR current_setting('synchronous_standby_names') = '')";
            let following: i64 = sqlx::query_scalar(following)
                .fetch_one(&mut primary)
                .await
                .unwrap();
            following == count
        })
        .await;
    }
}
