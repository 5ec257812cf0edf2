//! A node that runs inside the test process, on its own thread and socket.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use event_log::Location;
use server::{
    node::Serve,
    settings::{self, Roles},
};
use tempfile::TempDir;
use tokio::{runtime::Builder, sync::oneshot};

use test_support::DEADLINE;

use crate::Clients;

/// A node in its own data folder, on a port that the operating system picks. One node can be a
/// whole system.
#[derive(Debug)]
pub struct Server {
    folder: Option<TempDir>,
    node: Node,
    running: Option<Running>,
}

/// The configuration of a [`Server`]. The default leaves out everything optional and gives the node
/// no role.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// The roles of the node.
    pub roles: Roles,
    /// The URL of the Postgres database with the log. `None` keeps the log in the data folder.
    pub database: Option<String>,
    /// The URLs of the nodes whose events this node follows. Empty means its own log.
    pub events: Vec<String>,
    /// The Meilisearch server for text searches. `None` means the index of the node itself.
    pub meilisearch: Option<settings::Meilisearch>,
    /// The origins of web pages that may call the node.
    pub origins: Vec<String>,
    /// Whether the node serves the console.
    pub console: bool,
    /// The TLS settings of the listener. `None` means plain text.
    pub tls: Option<settings::Tls>,
    /// The accepted credentials. `None` lets every client call the node.
    pub credentials: Option<settings::Credentials>,
    /// The token and TLS settings for calls to other nodes.
    pub caller: settings::Caller,
    /// The time that a list or text search may work. `None` means the default of the tests.
    pub query_timeout: Option<Duration>,
    /// The age at which connections close. `None` does not limit it.
    pub max_connection_age: Option<Duration>,
    /// The limits on the resources that clients use.
    pub limits: settings::Limits,
}

#[derive(Debug)]
struct Running {
    url: String,
    shutdown: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Starts a node with all roles on an empty folder.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start() -> Self {
        Self::with(Roles::ALL, None, &[]).await
    }

    /// Starts a node with all roles on an empty folder and this Postgres database.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_on(database_url: &str) -> Self {
        Self::with(Roles::ALL, Some(database_url), &[]).await
    }

    /// Starts a node that only accepts commands. Its log is in this Postgres database, or else in
    /// an empty folder.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_for_commands(database_url: Option<&str>) -> Self {
        let roles = Roles {
            command: true,
            ..Roles::default()
        };
        Self::with(roles, database_url, &[]).await
    }

    /// Starts a node that only answers queries, on an empty folder. The node follows the events of
    /// these URLs.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_for_queries(events_urls: &[&str]) -> Self {
        let roles = Roles {
            query: true,
            ..Roles::default()
        };
        Self::with(roles, None, events_urls).await
    }

    /// Starts a node with all roles on an empty folder, with the Meilisearch server at this URL.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_with_meilisearch(url: &str, key: &str) -> Self {
        Self::of(Node {
            roles: Roles::ALL,
            meilisearch: Some(meilisearch(url, key)),
            ..Node::default()
        })
        .await
    }

    /// Starts a node with all roles on an empty folder. Web pages of these origins may call the
    /// node.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_for_pages(origins: &[&str]) -> Self {
        Self::of(Node {
            roles: Roles::ALL,
            origins: origins.iter().copied().map(Into::into).collect(),
            ..Node::default()
        })
        .await
    }

    /// Starts a node without the command role, on an empty folder. The node follows the events of
    /// these URLs and writes the index in the Meilisearch server at `url`.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_indexer(events_urls: &[&str], url: &str, key: &str) -> Self {
        Self::of(Node {
            roles: Roles {
                command: false,
                ..Roles::ALL
            },
            events: events_urls.iter().copied().map(Into::into).collect(),
            meilisearch: Some(meilisearch(url, key)),
            ..Node::default()
        })
        .await
    }

    async fn with(roles: Roles, database: Option<&str>, events: &[&str]) -> Self {
        let node = Node {
            roles,
            database: database.map(Into::into),
            events: events.iter().copied().map(Into::into).collect(),
            ..Node::default()
        };
        Self::of(node).await
    }

    /// Starts a node with this configuration on an empty folder.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn of(node: Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path().to_owned(), node.clone()).await;
        Self {
            folder: Some(folder),
            node,
            running: Some(running),
        }
    }

    /// Returns the data folder.
    ///
    /// # Panics
    /// Never panics: a server has a folder until it is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Returns the URL of the listener.
    ///
    /// # Panics
    /// Panics if the node is stopped.
    #[must_use]
    pub fn url(&self) -> String {
        self.running.as_ref().unwrap().url.clone()
    }

    /// Connects new clients to the node.
    ///
    /// # Panics
    /// Panics if the node does not listen.
    pub async fn clients(&self) -> Clients {
        Clients::connect(&self.url()).await.unwrap()
    }

    /// Shuts the node down and waits until its thread ends.
    ///
    /// # Panics
    /// Panics if the thread panicked.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Restarts the node on the same folder. Existing clients must reconnect.
    ///
    /// # Panics
    /// Panics if the node does not start.
    pub async fn start_again(&mut self) {
        self.stop().await;
        let (folder, node) = (self.folder().to_owned(), self.node.clone());
        self.running = Some(Running::start(folder, node).await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // The drop does not wait: the thread ends with the test process.
            let _ = running.shutdown.send(());
        }
    }
}

/// Returns the settings of a Meilisearch server with the default name of the index.
#[must_use]
pub fn meilisearch(url: &str, key: &str) -> settings::Meilisearch {
    settings::Meilisearch {
        url: url.to_owned(),
        key: Some(key.to_owned()),
        index: "orders".to_owned(),
    }
}

impl Running {
    async fn start(data_dir: PathBuf, node: Node) -> Self {
        let log = match node.database {
            Some(url) => Location::Database(url.parse().unwrap()),
            None => Location::File(data_dir.join("events.db")),
        };
        let events = node.events.iter().map(|url| url.parse().unwrap());
        let events = events.collect();
        let origins = node.origins.iter().map(|origin| origin.parse().unwrap());
        let origins = origins.collect();
        let secure = node.tls.is_some();
        let (shutdown, until) = oneshot::channel();
        let (listening, address) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listen = "127.0.0.1:0".parse().unwrap();
                let drain_timeout = DEADLINE;
                let settings = settings::Serve {
                    listen,
                    data_dir,
                    log,
                    meilisearch: node.meilisearch,
                    roles: node.roles,
                    events,
                    origins,
                    console: node.console,
                    tls: node.tls,
                    credentials: node.credentials,
                    caller: node.caller,
                    telemetry: settings::Telemetry {
                        // Metrics belong to the process, and this process runs many systems.
                        metrics: None,
                        collector: None,
                        log: settings::LogFormat::Text,
                    },
                    limits: node.limits,
                    drain_timeout,
                    drain_delay: Duration::ZERO,
                    query_timeout: node.query_timeout.unwrap_or(DEADLINE),
                    max_connection_age: node.max_connection_age,
                };
                let serve = Serve::bind(settings).await.unwrap();
                listening.send(serve.local_addr().unwrap()).unwrap();
                // A dropped sender shuts the node down as well.
                let until = async {
                    drop(until.await);
                    Duration::ZERO
                };
                serve.run(until).await.unwrap();
            });
        });
        let address = address.await.unwrap();
        let url = match secure {
            false => format!("http://{address}"),
            // The certificates of the tests name `localhost`.
            true => format!("https://localhost:{}", address.port()),
        };
        Self {
            url,
            shutdown,
            thread,
        }
    }

    async fn stop(self) {
        // The receiver no longer exists if the thread ended earlier.
        let _ = self.shutdown.send(());
        let thread = self.thread;
        tokio::task::spawn_blocking(|| thread.join())
            .await
            .unwrap()
            .unwrap();
    }
}
