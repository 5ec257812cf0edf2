//! An HTTP proxy that runs an action between the answer of the server and its delivery to the
//! client.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, spawn_blocking},
};

/// An action that runs once, after the server has answered a call of `path`.
struct Fault {
    path: &'static str,
    happen: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Fault")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Forwards calls to an HTTP server, and can run an action after the server has answered a call.
/// The proxy runs on the runtime that created it, until it is dropped.
#[derive(Debug)]
pub struct Interceptor {
    address: String,
    fault: Arc<Mutex<Option<Fault>>>,
    task: AbortHandle,
}

#[derive(Clone)]
struct Passing {
    server: String,
    client: reqwest::Client,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl Interceptor {
    /// Starts a proxy in front of the server at `server`, an address and port.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fault = Arc::default();
        let passing = Passing {
            server: server.to_owned(),
            client: reqwest::Client::new(),
            fault: Arc::clone(&fault),
        };
        let router = Router::new().fallback(pass).with_state(passing);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            fault,
            task: task.abort_handle(),
        }
    }

    /// Returns the URL that clients connect to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs `happen` once: after the server answers the next call of `path`, and before the client
    /// gets the answer.
    ///
    /// # Panics
    /// Never panics: no code panics while it holds the lock.
    pub fn after(&self, path: &'static str, happen: impl FnOnce() + Send + 'static) {
        let happen = Box::new(happen);
        *self.fault.lock().unwrap() = Some(Fault { path, happen });
    }
}

impl Drop for Interceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    State(passing): State<Passing>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let url = format!("http://{}{uri}", passing.server);
    let call = passing
        .client
        .request(method, url)
        .headers(headers)
        .body(body);
    // The server is down, or its answer is incomplete.
    let Ok(answer) = call.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let Ok(body) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let fault = passing
        .fault
        .lock()
        .unwrap()
        .take_if(|it| it.path == uri.path());
    if let Some(Fault { happen, .. }) = fault {
        spawn_blocking(happen).await.unwrap();
    }
    let kind = kind.map(|kind| [(CONTENT_TYPE, kind)]);
    (status, kind.map(HeaderMap::from_iter), body).into_response()
}
