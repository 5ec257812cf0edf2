use std::{
    path::{Path, PathBuf},
    thread,
};

use event_log::Location;
use server::{serve::Serve, settings};
use tempfile::TempDir;
use tokio::{runtime::Builder, sync::oneshot};

use crate::{Clients, DEADLINE};

/// A system of its own, on a port that the system picked.
#[derive(Debug)]
pub struct Server {
    folder: Option<TempDir>,
    /// Where its log is, if not in its folder.
    database: Option<String>,
    running: Option<Running>,
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
        Self::on(None).await
    }

    /// Starts a node on an empty folder and this Postgres database.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_on(database_url: &str) -> Self {
        Self::on(Some(database_url.to_owned())).await
    }

    async fn on(database: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let running = Running::start(folder.path().to_owned(), database.clone()).await;
        Self {
            folder: Some(folder),
            database,
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
        let (folder, database) = (self.folder().to_owned(), self.database.clone());
        self.running = Some(Running::start(folder, database).await);
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
    async fn start(data_dir: PathBuf, database: Option<String>) -> Self {
        let log = match database {
            Some(url) => Location::Database(url.parse().unwrap()),
            None => Location::File(data_dir.join("events.db")),
        };
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
                    drain_timeout,
                };
                let serve = Serve::bind(settings).await.unwrap();
                listening.send(serve.local_addr().unwrap()).unwrap();
                // A sender that is dropped shuts it down as well.
                let until = async { drop(until.await) };
                serve.run(until).await.unwrap();
            });
        });
        let url = format!("http://{}", address.await.unwrap());
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
