//! Announcements of appends, for nodes that share a log.

use crate::postgres;

/// Announces this node's appends, and receives the announcements of other nodes. A log in a file
/// belongs to one process, so [`News`] is idle for a file.
#[derive(Debug, Default)]
pub struct News(Option<postgres::News>);

impl News {
    /// Returns when another node may have appended. For a log in a file, the future never
    /// completes.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(news) => news.next().await,
            None => std::future::pending().await,
        }
    }

    /// Notifies the other nodes that this node has appended.
    pub async fn tell(&self) {
        if let Some(news) = &self.0 {
            news.tell().await;
        }
    }
}

impl From<postgres::News> for News {
    fn from(news: postgres::News) -> Self {
        Self(Some(news))
    }
}
