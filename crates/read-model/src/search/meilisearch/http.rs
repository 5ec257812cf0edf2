//! Sends the SDK's requests over a client with timeouts, which the SDK's own client lacks.

use std::time::Duration;

use futures_util::io::{AsyncRead, AsyncReadExt as _};
use meilisearch_sdk::{
    errors::Error,
    request::{HttpClient, Method, parse_response},
};
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};

/// Bounds the time to connect, within the timeout of the whole call.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(800);

/// A client that returns an answer or an error within its timeout.
#[derive(Debug, Clone)]
pub(super) struct Http(reqwest::Client);

impl Http {
    /// Creates a client. `timeout` bounds each whole call, and each call sends `key`.
    pub(super) fn new(key: Option<&str>, timeout: Duration) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| Error::InvalidRequest)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .build();
        client.map(Self).map_err(other)
    }

    /// Posts a body of JSON, which the SDK's own calls would copy.
    pub(super) async fn post<Output: DeserializeOwned + 'static>(
        &self,
        url: &str,
        body: Vec<u8>,
        expected_status_code: u16,
    ) -> Result<Output, Error> {
        let request = self.0.post(url).header(CONTENT_TYPE, "application/json");
        answer(request.body(body), url, expected_status_code).await
    }
}

async fn answer<Output: DeserializeOwned + 'static>(
    request: RequestBuilder,
    url: &str,
    expected_status_code: u16,
) -> Result<Output, Error> {
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(failed)?;
    let body = String::from_utf8_lossy(&body);
    parse_response(status, expected_status_code, &body, url.to_owned())
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// Joins the whole chain of causes, because reqwest's outermost error only names the URL.
fn failed(error: reqwest::Error) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    Error::Other(text.into())
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn stream_request<
        Query: Serialize + Send + Sync,
        Body: AsyncRead + Send + Sync + 'static,
        Output: DeserializeOwned + 'static,
    >(
        &self,
        url: &str,
        method: Method<Query, Body>,
        content_type: &str,
        expected_status_code: u16,
    ) -> Result<Output, Error> {
        // Every request of this crate has its query in the URL.
        if !serde_json::to_value(method.query())?.is_null() {
            return Err(Error::InvalidRequest);
        }
        let verb = match &method {
            Method::Get { .. } => reqwest::Method::GET,
            Method::Post { .. } => reqwest::Method::POST,
            Method::Patch { .. } => reqwest::Method::PATCH,
            Method::Put { .. } => reqwest::Method::PUT,
            Method::Delete { .. } => reqwest::Method::DELETE,
        };
        let mut request = self.0.request(verb, url);
        if let Some(body) = method.into_body() {
            let mut bytes = Vec::new();
            let mut body = std::pin::pin!(body);
            body.read_to_end(&mut bytes).await.map_err(other)?;
            request = request.header(CONTENT_TYPE, content_type).body(bytes);
        }
        answer(request, url, expected_status_code).await
    }
}
