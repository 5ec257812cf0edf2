use std::{
    path::{Path, PathBuf},
    thread,
};

use event_log::Location;
use server::{
    node::Serve,
    settings::{self, Roles},
};
use tempfile::TempDir;
use tokio::{runtime::Builder, sync::oneshot};

use crate::{Clients, DEADLINE};

/// A system of its own, or a node of one, on a port that the system picked.
#[derive(Debug)]
pub struct Server {
    folder: Option<TempDir>,
    node: Node,
    running: Option<Running>,
}

/// What is to be said of a node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// What it is for.
    pub roles: Roles,
    /// Where its log is, if not in its folder.
    pub database: Option<String>,
    /// Whose events it follows, if not its own.
    pub events: Vec<String>,
    /// Who answers its text searches, if it does not itself.
    pub meilisearch: Option<settings::Meilisearch>,
    /// Whose pages may call it.
    pub origins: Vec<String>,
    /// What it shows of itself, if anything.
    pub tls: Option<settings::Tls>,
    /// Who may call it, if not everyone.
    pub credentials: Option<settings::Credentials>,
    /// What it shows to others.
    pub caller: settings::Caller,
    /// What clients may take of it.
    pub limits: settings::Limits,
}

#[derive(Debug)]
struct Running {
    url: String,
    shutdown: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Server {
    /// Starts on an empty folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::with(Roles::ALL, None, &[]).await
    }

    /// Starts a node on an empty folder and this Postgres database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_on(database_url: &str) -> Self {
        Self::with(Roles::ALL, Some(database_url), &[]).await
    }

    /// Starts a node that only takes commands, on an empty folder or this Postgres database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_for_commands(database_url: Option<&str>) -> Self {
        let roles = Roles {
            command: true,
            ..Roles::default()
        };
        Self::with(roles, database_url, &[]).await
    }

    /// Starts a node that only answers queries, on an empty folder, and follows these.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_for_queries(events_urls: &[&str]) -> Self {
        let roles = Roles {
            query: true,
            ..Roles::default()
        };
        Self::with(roles, None, events_urls).await
    }

    /// Starts on an empty folder, with a Meilisearch at this URL.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with_meilisearch(url: &str, key: &str) -> Self {
        Self::of(Node {
            roles: Roles::ALL,
            meilisearch: Some(settings::Meilisearch {
                url: url.to_owned(),
                key: Some(key.to_owned()),
            }),
            ..Node::default()
        })
        .await
    }

    /// Starts on an empty folder, for pages of these origins too.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_for_pages(origins: &[&str]) -> Self {
        Self::of(Node {
            roles: Roles::ALL,
            origins: origins.iter().copied().map(Into::into).collect(),
            ..Node::default()
        })
        .await
    }

    /// Starts a node that only answers queries, on an empty folder, follows these, and feeds the
    /// Meilisearch at this URL.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_indexer(events_urls: &[&str], url: &str, key: &str) -> Self {
        Self::of(Node {
            roles: Roles {
                command: false,
                ..Roles::ALL
            },
            events: events_urls.iter().copied().map(Into::into).collect(),
            meilisearch: Some(settings::Meilisearch {
                url: url.to_owned(),
                key: Some(key.to_owned()),
            }),
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

    /// Starts on an empty folder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn of(node: Node) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path().to_owned(), node.clone()).await;
        Self {
            folder: Some(folder),
            node,
            running: Some(running),
        }
    }

    /// Its data folder.
    ///
    /// # Panics
    /// Never: it has one until it is dropped.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When it is stopped.
    #[must_use]
    pub fn url(&self) -> String {
        self.running.as_ref().unwrap().url.clone()
    }

    /// New clients of it.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn clients(&self) -> Clients {
        Clients::connect(&self.url()).await.unwrap()
    }

    /// Shuts it down, and waits until it has ended.
    ///
    /// # Panics
    /// When it panicked.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Starts it again on the same folder; clients have to connect again.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_again(&mut self) {
        self.stop().await;
        let (folder, node) = (self.folder().to_owned(), self.node.clone());
        self.running = Some(Running::start(folder, node).await);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Without waiting: it goes with the test, and its folder behind it.
            let _ = running.shutdown.send(());
        }
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
                    tls: node.tls,
                    credentials: node.credentials,
                    caller: node.caller,
                    telemetry: settings::Telemetry {
                        // They are the process', of which this is one of many systems.
                        metrics: None,
                        collector: None,
                        log: settings::LogFormat::Text,
                    },
                    limits: node.limits,
                    drain_timeout,
                };
                let serve = Serve::bind(settings).await.unwrap();
                listening.send(serve.local_addr().unwrap()).unwrap();
                // A sender that is dropped shuts it down as well.
                let until = async { drop(until.await) };
                serve.run(until).await.unwrap();
            });
        });
        let address = address.await.unwrap();
        let url = match secure {
            false => format!("http://{address}"),
            // What its certificate says.
            true => format!("https://localhost:{}", address.port()),
        };
        Self {
            url,
            shutdown,
            thread,
        }
    }

    async fn stop(self) {
        // Gone when it has ended already.
        let _ = self.shutdown.send(());
        let thread = self.thread;
        tokio::task::spawn_blocking(|| thread.join())
            .await
            .unwrap()
            .unwrap();
    }
}
