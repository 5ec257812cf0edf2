//! The metrics, for Prometheus, on a listener of their own.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, extract::State, routing::get};
use command_side::{Commands, Events};
use http::{HeaderMap, StatusCode, header};
use query_side::{Projections, Queries};
use telemetry::metrics::{Log, Projection, Rendered, clients, install};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, service::Routes, transport::Server};
use wire::Error as Refusal;

use super::{
    Error,
    listener::{Connection, Places},
};
use crate::{access::Credentials, settings};

/// How often what was measured is summed up, whether anybody asks for it or not: until then it is
/// kept one by one.
const UPKEEP: Duration = Duration::from_secs(5);

/// The version of the text that Prometheus reads.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address. `None` where nobody has asked for it, and somebody else has it.
///
/// # Errors
/// It cannot be listened on.
pub(super) async fn bind(settings: &settings::Metrics) -> Result<Option<TcpListener>, Error> {
    match TcpListener::bind(settings.listen).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !settings.wanted && error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(Error::Listen(settings.listen, error)),
    }
}

/// What there is to look at when somebody asks.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    pub(super) write: Option<(Commands, Events, [watch::Receiver<bool>; 2])>,
    pub(super) read: Option<(Queries, Projections)>,
    pub(super) connections: Places,
}

impl Observer {
    async fn look(&self) {
        if let Some((commands, events, available)) = &self.write {
            Log {
                head: Some(events.position()),
                available: available.iter().all(|available| *available.borrow()),
                waiting: commands.waiting(),
                subscribers: events.subscribers(),
            }
            .observe();
        }
        let watchers = self.read.as_ref().map(|(queries, _)| queries.watching());
        clients(self.connections.taken(), watchers);
        if let Some((_, projections)) = &self.read {
            // Where the documents do not answer, that is logged; what was seen before stays.
            let statuses = projections.all().await.into_iter();
            for status in statuses.flat_map(|(statuses, _)| statuses) {
                let lag = status.lag.unwrap_or_default();
                Projection {
                    lag: Duration::try_from(lag).unwrap_or_default(),
                    failing: !status.error.is_empty(),
                    name: status.name,
                    position: status.position,
                    lag_events: status.lag_events,
                    parked: status.parked_count,
                }
                .observe();
            }
        }
    }
}

/// Serves the metrics until `stop`: to everyone, or to those who may operate.
///
/// # Errors
/// This process measures for another server already.
pub(super) fn serve(
    incoming: ReceiverStream<Result<Connection, std::convert::Infallible>>,
    credentials: Option<Credentials>,
    observer: Observer,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), Error> {
    let rendered = install().map_err(Error::Metrics)?;
    let upkeep = rendered.clone();
    let until = stop.clone();
    tasks.spawn(async move {
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                upkeep.run_upkeep();
            }
        };
        until.run_until_cancelled(upkeep).await
    });
    let state = Arc::new((rendered, credentials, observer));
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(state);
    let server = Server::builder()
        .accept_http1(true)
        .add_routes(Routes::from(router))
        .serve_with_incoming(incoming);
    tasks.spawn(async move {
        if let Some(Err(error)) = stop.run_until_cancelled(server).await {
            tracing::error!(%error, "the metrics are not served any more");
        }
    });
    Ok(())
}

type Answer = (StatusCode, [(header::HeaderName, &'static str); 1], String);

async fn metrics(
    State(state): State<Arc<(Rendered, Option<Credentials>, Observer)>>,
    headers: HeaderMap,
) -> Answer {
    let (rendered, credentials, observer) = &*state;
    if let Some(credentials) = credentials {
        let shown = headers.get(header::AUTHORIZATION);
        if let Err(error) = credentials.may_see_metrics(shown).await {
            return refused(error);
        }
    }
    observer.look().await;
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        rendered.render(),
    )
}

fn refused(error: Refusal) -> Answer {
    let status = tonic::Status::from(error);
    let code = match status.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let told = format!("{}\n", status.message());
    (code, [(header::WWW_AUTHENTICATE, "Bearer")], told)
}
