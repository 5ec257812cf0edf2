use crate::postgres;

/// What other nodes append, and telling them what this one does. A log in a file has no others.
#[derive(Debug, Default)]
pub struct News(Option<postgres::News>);

impl News {
    /// Returns when another node may have appended; never, where there is none.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(news) => news.next().await,
            None => std::future::pending().await,
        }
    }

    /// Tells the others that this node has appended.
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
