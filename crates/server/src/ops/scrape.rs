//! The Prometheus metrics and the probes, served over HTTP on a listener of their own.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
    routing::get,
};
use command_side::{Commands, Events};
use contract::orders::v1::ProjectionState;
use http::{HeaderMap, StatusCode, header};
use projector::Projections;
use query_side::Queries;
use telemetry::metrics::{Log, Projection, Rendered, clients, install, wal};
use tokio::{net::TcpListener, runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, service::Routes};
use wire::Error as Refusal;

use crate::{
    access::Credentials,
    layers::web,
    listener::{Listener, Places, Runtimes, Tls},
    node::{Error, ReadSide, WriteSide},
    settings::{self, Limits},
};

/// Interval at which the recorder aggregates its samples. Until then it keeps every sample in
/// memory, even if no client scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The media type of the Prometheus text format, version 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Binds the address. Returns `None` if the address is in use and no setting asks for metrics.
///
/// # Errors
/// [`Error::Listen`] if the node cannot listen on the address.
pub(crate) async fn bind(settings: &settings::Metrics) -> Result<Option<TcpListener>, Error> {
    match TcpListener::bind(settings.listen).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if !settings.wanted && error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(Error::Listen(settings.listen, error)),
    }
}

/// Maximum number of metrics connections. They are separate from the others, because operators
/// scrape most when clients have taken all others.
pub(crate) const MAX_CONNECTIONS: u32 = 32;

/// Maximum age of a metrics connection.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The sources of the gauges that each scrape reads.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    write: Option<(Commands, Events, [watch::Receiver<bool>; 2])>,
    read: Option<(Queries, Projections)>,
    connections: Places,
    /// The SQLite files by their name in the metrics.
    files: Vec<(&'static str, PathBuf)>,
}

impl Observer {
    pub(crate) fn of(
        write: Option<&WriteSide>,
        read: Option<&ReadSide>,
        connections: &Places,
        files: Vec<(&'static str, PathBuf)>,
    ) -> Self {
        Self {
            write: write.map(|side| {
                let available = side.available.clone();
                (side.commands.clone(), side.events.clone(), available)
            }),
            read: read.map(|side| (side.queries.clone(), side.projections.clone())),
            connections: connections.clone(),
            files,
        }
    }

    async fn look(&self) {
        if let Some((commands, events, available)) = &self.write {
            Log {
                head: events.position(),
                available: available.iter().all(|available| *available.borrow()),
                waiting: commands.waiting(),
                subscribers: events.subscribers(),
            }
            .observe();
        }
        let watchers = self.read.as_ref().map(|(queries, _)| queries.watching());
        clients(self.connections.taken(), watchers);
        for (name, file) in &self.files {
            wal(name, wal_bytes(file).await);
        }
        if let Some((_, projections)) = &self.read {
            let (statuses, _) = projections.all().await;
            for status in statuses {
                let lag = status.lag.unwrap_or_default();
                Projection {
                    lag: Duration::try_from(lag).unwrap_or_default(),
                    failing: status.state() == ProjectionState::Failing,
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

/// Returns the size of a file's write-ahead log, which is none before the first write. The file may be
/// a link.
async fn wal_bytes(file: &Path) -> u64 {
    let Ok(file) = tokio::fs::canonicalize(file).await else {
        return 0;
    };
    let found = tokio::fs::metadata(sqlite::wal_path(&file)).await;
    found.map_or(0, |found| found.len())
}

/// Serves the metrics on this runtime until `stop`. A loopback listener serves every client on this
/// machine. Any other listener uses the TLS of gRPC and, if the node has credentials, requires the
/// role `operate`.
///
/// # Errors
/// [`Error::Metrics`] if this process has a metrics recorder already.
pub(crate) fn serve(
    listener: TcpListener,
    observer: Observer,
    ready: watch::Receiver<bool>,
    (tls, credentials): (Option<Tls>, Option<Credentials>),
    limits: &Limits,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<(), Error> {
    let is_local = listener.local_addr().is_ok_and(|it| it.ip().is_loopback());
    let (tls, credentials) = match is_local {
        true => (None, None),
        false => (tls, credentials),
    };
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
    let mut router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(state)
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(*ready.borrow())));
    if is_local {
        router = router.layer(from_fn(local_host));
    }
    let here = Handle::current();
    let listener = Listener {
        listener,
        tls,
        // The oldest connection closes for a new one, so that a scrape always finds a place.
        places: Places::new(2 * MAX_CONNECTIONS),
        runtimes: Runtimes {
            lobby: here.clone(),
            commands: here.clone(),
            reading: here,
        },
        limits: Limits {
            strangers: MAX_CONNECTIONS,
            streams: MAX_CONNECTIONS,
            ..limits.clone()
        },
        max_age: Some(MAX_AGE),
    };
    let stop = stop.clone();
    tasks.spawn(listener.run(Routes::from(router), stop));
    Ok(())
}

/// Answers a probe of the readiness, which needs no credential.
fn readiness(is_ready: bool) -> (StatusCode, &'static str) {
    match is_ready {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not serving\n"),
    }
}

/// Rejects a request to another host name than that of this machine. A web page can point a name of
/// its own at this machine (DNS rebinding), and would read the metrics under that name.
async fn local_host(request: Request, next: Next) -> Response {
    let is_local = web::host(&request).is_none_or(|host| web::is_this_machine(&host));
    match is_local {
        true => next.run(request).await,
        false => (
            StatusCode::MISDIRECTED_REQUEST,
            "not a name of this machine\n",
        )
            .into_response(),
    }
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
