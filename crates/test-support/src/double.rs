//! A double of Meilisearch for faults that a real server cannot produce on demand. The double
//! implements the HTTP calls of an indexer and completes every task at once. Tests that can use a
//! real server do.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    thread,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

mod filter;

use filter::Filter;

/// The status and body of an HTTP answer.
type Answer = (StatusCode, Json<Value>);

/// A double that listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Double {
    address: String,
    content: Arc<Mutex<Content>>,
    _stop: oneshot::Sender<()>,
}

/// A refusal of the double, with the error code of Meilisearch, which is also the message.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// Answers every call with this status and code.
    Call(u16, &'static str),
    /// Fails the tasks that change settings.
    Settings(&'static str),
    /// Fails the tasks that write documents.
    Task(&'static str),
    /// Fails the tasks that write an order with this text in its id.
    Order(&'static str, &'static str),
    /// Never answers a search that counts facets.
    Facets,
}

/// All data of the double. A clone stands for a copy of the data folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    refusal: Option<Refusal>,
    indexes: BTreeMap<String, Index>,
    tasks: Vec<Task>,
    /// The number of indexes created so far. Each index derives its unique creation time from it.
    made: u32,
}

#[derive(Debug, Clone)]
struct Index {
    created_at: String,
    primary_key: Option<String>,
    has_settings: bool,
    documents: BTreeMap<String, Value>,
}

#[derive(Debug, Clone)]
struct Task {
    index: Option<String>,
    kind: &'static str,
    error: Option<&'static str>,
}

impl Double {
    pub(crate) fn start() -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let shared = Arc::clone(&content);
        let (stop, stopped) = oneshot::channel::<()>();
        let (listening, address) = std::sync::mpsc::channel();
        // The double needs its own thread, because tests make blocking calls to it.
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                listening.send(listener.local_addr().unwrap()).unwrap();
                let router = Router::new().fallback(answer).with_state(shared);
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap().to_string(),
            content,
            _stop: stop,
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn content(&self) -> Content {
        self.content.lock().unwrap().clone()
    }

    pub(crate) fn refuse(&self, refusal: Option<Refusal>) {
        self.content.lock().unwrap().refusal = refusal;
    }

    pub(crate) fn put_back(&self, content: Content) {
        *self.content.lock().unwrap() = content;
    }
}

async fn answer(
    State(content): State<Arc<Mutex<Content>>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Answer {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path: Vec<_> = uri.path().trim_matches('/').split('/').collect();
    let query = uri.query().unwrap_or_default();
    if !body["federation"]["facetsByIndex"].is_null() {
        let refuses = matches!(content.lock().unwrap().refusal, Some(Refusal::Facets));
        if refuses {
            std::future::pending::<()>().await;
        }
    }
    let mut content = content.lock().unwrap();
    content.answer(&method, &path, query, &body)
}

fn ok(body: Value) -> Answer {
    (StatusCode::OK, Json(body))
}

fn refused(status: StatusCode, code: &str) -> Answer {
    let error = json!({"message": code, "code": code, "type": "invalid_request", "link": ""});
    (status, Json(error))
}

impl Content {
    fn answer(&mut self, method: &Method, path: &[&str], query: &str, body: &Value) -> Answer {
        if let Some(Refusal::Call(status, code)) = &self.refusal {
            return refused(StatusCode::from_u16(*status).unwrap(), code);
        }
        match (method.as_str(), path) {
            ("GET", ["health"]) => ok(json!({"status": "available"})),
            ("GET", ["tasks"]) => ok(self.tasks(query)),
            ("POST", ["multi-search"]) => self.multi_search(body),
            ("POST", ["swap-indexes"]) => self.swap(body),
            ("POST", ["indexes"]) => {
                let uid = body["uid"].as_str().unwrap().to_owned();
                let exists = self.indexes.contains_key(&uid);
                if !exists {
                    self.index(&uid).primary_key = body["primaryKey"].as_str().map(str::to_owned);
                }
                let error = exists.then_some("index_already_exists");
                self.task(Some(&uid), "indexCreation", error)
            }
            ("GET", ["indexes", uid]) => match self.indexes.get(*uid) {
                Some(Index {
                    created_at,
                    primary_key,
                    ..
                }) => ok(json!({"uid": uid, "createdAt": created_at, "primaryKey": primary_key})),
                None => refused(StatusCode::NOT_FOUND, "index_not_found"),
            },
            ("DELETE", ["indexes", uid]) => {
                let removed = self.indexes.remove(*uid);
                let error = removed.is_none().then_some("index_not_found");
                self.task(Some(uid), "indexDeletion", error)
            }
            ("PATCH", ["indexes", uid, "settings"]) => {
                let error = match &self.refusal {
                    Some(Refusal::Settings(code)) => Some(*code),
                    _ => None,
                };
                self.index(uid).has_settings = error.is_none();
                self.task(Some(uid), "settingsUpdate", error)
            }
            ("DELETE", ["indexes", uid, "documents"]) => {
                self.index(uid).documents.clear();
                self.task(Some(uid), "documentDeletion", None)
            }
            ("POST", ["indexes", uid, "documents"]) => {
                let error = self.add_documents(uid, query, body);
                self.task(Some(uid), "documentAdditionOrUpdate", error)
            }
            ("POST", ["indexes", uid, "documents", "fetch"]) => match self.matching(uid, body) {
                Ok(found) => ok(json!({ "results": found })),
                Err(refused) => refused,
            },
            ("GET", ["indexes", uid, "documents", id]) => match self.indexes.get(*uid) {
                Some(index) => match index.documents.get(*id) {
                    Some(document) => ok(document.clone()),
                    None => refused(StatusCode::NOT_FOUND, "document_not_found"),
                },
                None => refused(StatusCode::NOT_FOUND, "index_not_found"),
            },
            _ => refused(StatusCode::NOT_IMPLEMENTED, "not_known_to_the_double"),
        }
    }

    /// Returns the index and creates it if it is missing.
    fn index(&mut self, uid: &str) -> &mut Index {
        let made = &mut self.made;
        self.indexes.entry(uid.to_owned()).or_insert_with(|| {
            *made += 1;
            Index {
                created_at: format!("2026-01-01T00:00:00.{made:09}Z"),
                primary_key: None,
                has_settings: false,
                documents: BTreeMap::new(),
            }
        })
    }

    /// Adds documents if they have the primary key of the index, and returns the error of the task.
    fn add_documents(&mut self, uid: &str, query: &str, body: &Value) -> Option<&'static str> {
        let given = query.strip_prefix("primaryKey=").unwrap();
        match &self.refusal {
            Some(Refusal::Task(code)) => return Some(code),
            Some(Refusal::Order(code, id)) if body.to_string().contains(id) => return Some(code),
            _ => {}
        }
        let index = self.index(uid);
        let primary_key = index.primary_key.get_or_insert_with(|| given.to_owned());
        if primary_key != given {
            return Some("index_primary_key_already_exists");
        }
        let documents = body.as_array().unwrap().iter();
        let keyed = documents.map(|it| (it[given].as_str().unwrap().to_owned(), it.clone()));
        index.documents.extend(keyed);
        None
    }

    fn task(
        &mut self,
        uid: Option<&str>,
        kind: &'static str,
        error: Option<&'static str>,
    ) -> Answer {
        let task = json!({
            "taskUid": self.tasks.len(), "indexUid": uid, "status": "enqueued", "type": kind,
            "enqueuedAt": "2026-01-01T00:00:00Z",
        });
        let index = uid.map(str::to_owned);
        self.tasks.push(Task { index, kind, error });
        (StatusCode::ACCEPTED, Json(task))
    }

    fn tasks(&self, query: &str) -> Value {
        let parameters: BTreeMap<_, _> = query
            .split('&')
            .filter_map(|it| it.split_once('='))
            .collect();
        let number = |name| {
            parameters
                .get(name)
                .map(|text: &&str| text.parse().unwrap())
        };
        let of_index = |task: &Task| {
            let kinds = parameters.get("types").map(|types| types.split(','));
            let of_kind = kinds.is_none_or(|mut kinds| kinds.any(|kind| kind == task.kind));
            parameters.get("indexUids").copied() == task.index.as_deref() && of_kind
        };
        let found = self
            .tasks
            .iter()
            .enumerate()
            .find(|(uid, task)| match number("uids") {
                Some(wanted) => *uid == wanted,
                None => *uid >= number("from").unwrap() && of_index(task),
            });
        let shown = found.map(|(uid, task)| {
            let status = if task.error.is_some() {
                "failed"
            } else {
                "succeeded"
            };
            let error = task
                .error
                .map(|it| json!({"message": it, "code": it, "type": "invalid_request"}));
            json!({"uid": uid, "status": status, "type": task.kind, "error": error})
        });
        json!({ "results": Vec::from_iter(shown) })
    }

    fn swap(&mut self, body: &Value) -> Answer {
        let pair = |index: usize| body[0]["indexes"][index].as_str().unwrap().to_owned();
        let (one, other) = (pair(0), pair(1));
        let (first, second) = (self.indexes.remove(&one), self.indexes.remove(&other));
        let error = match (first, second) {
            (Some(first), Some(second)) => {
                self.indexes.extend([(one, second), (other, first)]);
                None
            }
            (first, second) => {
                self.indexes.extend(first.map(|it| (one, it)));
                self.indexes.extend(second.map(|it| (other, it)));
                Some("index_not_found")
            }
        };
        self.task(None, "indexSwap", error)
    }

    /// Merges the hits of several searches of one index: those of greater weight first, then the newest.
    fn multi_search(&self, body: &Value) -> Answer {
        let mut hits: BTreeMap<String, (f64, Value)> = BTreeMap::new();
        for query in body["queries"].as_array().unwrap() {
            let found = match self.matching(query["indexUid"].as_str().unwrap(), query) {
                Ok(found) => found,
                Err(refused) => return refused,
            };
            let weight = query["federationOptions"]["weight"].as_f64().unwrap();
            for hit in found {
                let is_checkpoint = hit["row"].is_null();
                let rank = if is_checkpoint { f64::MAX } else { weight };
                let known = hits.entry(hit["row"].to_string()).or_insert((rank, hit));
                known.0 = known.0.max(rank);
            }
        }
        let mut hits: Vec<_> = hits.into_values().collect();
        hits.sort_by(|(weight, hit), (other_weight, other)| {
            let newest = other["row"].as_u64().cmp(&hit["row"].as_u64());
            other_weight.total_cmp(weight).then(newest)
        });
        let total = hits.len();
        let limit = body["federation"]["limit"].as_u64().unwrap();
        hits.truncate(usize::try_from(limit).unwrap());
        let hits: Vec<_> = hits.into_iter().map(|(_, hit)| hit).collect();
        ok(json!({"hits": hits, "estimatedTotalHits": total, "processingTimeMs": 1}))
    }

    /// Returns the documents that match the query. Each word of the query must begin a word of the
    /// document, or be one if it is in quotes, and the document must pass the filter.
    fn matching(&self, uid: &str, query: &Value) -> Result<Vec<Value>, Answer> {
        let Some(index) = self.indexes.get(uid) else {
            return Err(refused(StatusCode::NOT_FOUND, "index_not_found"));
        };
        let filter = query["filter"].as_str().unwrap_or_default();
        if !index.has_settings && !filter.is_empty() {
            return Err(refused(StatusCode::BAD_REQUEST, "invalid_search_filter"));
        }
        let words = query["q"].as_str().unwrap_or_default();
        let has_words = |document: &&Value| {
            let mut text = String::new();
            for field in [
                "checkpoint",
                "order_id",
                "customer_name",
                "product_names",
                "shipping_address",
            ] {
                write!(text, " {}", document[field]).unwrap();
            }
            let there: Vec<_> = text.split(|it: char| !it.is_alphanumeric()).collect();
            words.split_whitespace().all(|word| {
                let phrase = word.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                there.iter().any(|it| match phrase {
                    Some(phrase) => *it == phrase,
                    None => it.starts_with(word),
                })
            })
        };
        let Some(conditions) = Filter::parse(filter) else {
            return Err(refused(StatusCode::NOT_IMPLEMENTED, "filter_not_known"));
        };
        let found = index.documents.values().filter(has_words);
        let found = found.filter(|document| conditions.passes(document));
        let found = found.cloned().collect();
        Ok(found)
    }
}
