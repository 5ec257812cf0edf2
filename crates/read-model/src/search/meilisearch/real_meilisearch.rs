//! Runs the suite of every engine against a real Meilisearch.

use test_support::meilisearch::shared;
use uuid::Uuid;

use super::MeilisearchIndex;
use crate::search::{
    Engine as _, LiveIndex,
    contract_suite::{Fixture, contract_suite},
};

struct Server {
    url: String,
    key: Option<String>,
    name: String,
}

impl Server {
    fn new() -> Self {
        let (url, key) = shared();
        let name = Uuid::now_v7().to_string();
        Self { url, key, name }
    }
}

#[async_trait::async_trait]
impl Fixture for Server {
    async fn open(&self) -> Box<dyn LiveIndex> {
        let index = MeilisearchIndex::named(&self.url, self.key.as_deref(), &self.name).unwrap();
        index.claim().await.unwrap();
        Box::new(index)
    }
}

contract_suite!(Server::new(), ignore = "needs Meilisearch");
