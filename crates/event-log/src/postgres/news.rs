use std::time::Duration;

use sqlx::{PgPool, postgres::PgListener};

/// The channel on which nodes tell each other that they have appended. A message says no more: it
/// may be lost, and is only the sooner of two reasons to look.
const CHANNEL: &str = "orderlog";

/// After this time there is reason to look anyway.
const POLL: Duration = Duration::from_millis(250);

/// What other nodes do, and telling them what this one does.
#[derive(Debug)]
pub struct News {
    pool: PgPool,
    listener: Option<PgListener>,
}

impl News {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            listener: None,
        }
    }

    /// Returns when another node may have appended.
    pub(crate) async fn next(&mut self) {
        // Whatever fails, time passes.
        let _ = tokio::time::timeout(POLL, self.listen()).await;
    }

    async fn listen(&mut self) {
        let listener = match &mut self.listener {
            Some(listener) => listener,
            None => {
                let connected = PgListener::connect_with(&self.pool).await;
                let Ok(mut listener) = connected else {
                    return std::future::pending().await;
                };
                if listener.listen(CHANNEL).await.is_err() {
                    return std::future::pending().await;
                }
                self.listener.insert(listener)
            }
        };
        if listener.recv().await.is_err() {
            self.listener = None;
            std::future::pending().await
        }
    }

    /// Tells the others that this node has appended.
    pub(crate) async fn tell(&self) {
        let told = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL);
        if let Err(error) = told.execute(&self.pool).await {
            tracing::debug!(%error, "other nodes are not told, and will find out by themselves");
        }
    }
}
