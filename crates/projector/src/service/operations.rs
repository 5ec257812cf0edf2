//! Rebuild and Verify: long operations that stream their progress.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use contract::orders::v1::{
    Difference, RebuildRequest, RebuildResponse, RebuildStage, VerifyRequest, VerifyResponse,
};
use read_model::{search::Beside, store::Projection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument as _;
use wire::{Error, Violations};

use crate::{Finding, Part, Rebuilds, Stage, Step, Verifier, rebuild, verify as verifying};

/// Minimum interval between two messages that only report progress.
const PACE: Duration = Duration::from_millis(200);

/// Maximum number of differences in one message.
const DIFFERENCES: usize = 500;

const PROJECTIONS: [(&str, Projection); 2] = [
    ("documents", Projection::Documents),
    ("search", Projection::Search),
];

const PARTS: [(&str, Part); 3] = [
    ("log", Part::Log),
    ("documents", Part::Documents),
    ("search", Part::Search),
];

/// Returns the entries of `all` that `names` contains, in the order of `all`. No names select all
/// entries. Reports unknown names as violations.
fn chosen<T: Copy>(
    field: &str,
    names: &[String],
    all: &[(&'static str, T)],
    violations: &mut Violations,
) -> Vec<(&'static str, T)> {
    let known: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    for (index, name) in names.iter().enumerate() {
        let rule = format!("must be {}", known.join(" or "));
        let is_known = known.contains(&name.as_str());
        violations.check(is_known, format!("{field}[{index}]"), &rule);
    }
    let named = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
    all.iter()
        .copied()
        .filter(|(name, _)| named(name))
        .collect()
}

pub(super) fn rebuild(
    request: RebuildRequest,
    rebuilds: Rebuilds,
    stop: CancellationToken,
) -> Result<ReceiverStream<Result<RebuildResponse, Status>>, Error> {
    let mut violations = Violations::default();
    let names = &request.projections;
    let chosen = chosen("projections", names, &PROJECTIONS, &mut violations);
    violations.finish()?;
    let which = if request.rollback {
        Beside::Previous
    } else {
        Beside::New
    };
    let (responses, sent) = mpsc::channel(16);
    // The rebuild ends when its client leaves, or at shutdown. A swap that has begun completes.
    let stream = async move {
        for (_, projection) in chosen {
            let mut last = None;
            let told = responses.clone();
            let tell = move |step: Step| {
                let is_news = step.stage != Stage::Filling;
                if is_news || last.is_none_or(|last: Instant| last.elapsed() >= PACE) {
                    last = Some(Instant::now());
                    // A full channel drops this message: the next one reports later progress.
                    let _ = told.try_send(Ok(message(step)));
                }
            };
            let (gone, ends) = (responses.clone(), stop.clone());
            let cancelled = async move {
                tokio::select! {
                    () = gone.closed() => {}
                    () = ends.cancelled() => {}
                }
            };
            let run = rebuilds.run(projection, which, tell, cancelled);
            if let Err(error) = run.await {
                let error = failed_rebuild(projection, error);
                // Sending fails if the client has left.
                let _ = responses.send(Err(error.into())).await;
                return;
            }
        }
    };
    tokio::spawn(stream.in_current_span());
    Ok(ReceiverStream::new(sent))
}

fn message(step: Step) -> RebuildResponse {
    let stage = match step.stage {
        Stage::Filling => RebuildStage::Filling,
        Stage::Checking => RebuildStage::Checking,
        Stage::Switching => RebuildStage::Switching,
        Stage::Done => RebuildStage::Done,
    };
    RebuildResponse {
        projection: step.projection.name().to_owned(),
        stage: stage.into(),
        done_position: step.done,
        total_position: step.total,
        generation: step.generation,
    }
}

fn failed_rebuild(projection: Projection, error: rebuild::Error) -> Error {
    match error {
        // The client receives this only at shutdown: the other cause of a cancellation is that the
        // client has left.
        rebuild::Error::Cancelled => Error::ShuttingDown,
        rebuild::Error::UnderWay
        | rebuild::Error::NoPrevious
        | rebuild::Error::Outdated
        | rebuild::Error::NotIndexer
        | rebuild::Error::Empty => Error::RebuildNotPossible {
            projection: projection.name(),
            why: error.to_string(),
        },
        rebuild::Error::Engine(_) => Error::SearchUnavailable,
        rebuild::Error::Log(_) => Error::StoreUnavailable,
        rebuild::Error::Store(error) => Error::from(&error),
        rebuild::Error::Wrong(_) => Error::internal(&error),
    }
}

pub(super) fn verify(
    request: VerifyRequest,
    verifier: Arc<Verifier>,
    stop: CancellationToken,
) -> Result<ReceiverStream<Result<VerifyResponse, Status>>, Error> {
    let mut violations = Violations::default();
    let chosen = chosen("parts", &request.parts, &PARTS, &mut violations);
    violations.finish()?;
    let (responses, sent) = mpsc::channel(1);
    // The verification ends when its client leaves, or at shutdown.
    let stream = async move {
        let verified = async {
            for (name, part) in chosen {
                verify_part(name, part, &verifier, &responses).await?;
            }
            Ok(())
        };
        let ended = match stop.run_until_cancelled(verified).await {
            Some(Ok(())) => return,
            Some(Err(error)) => failed_verification(&error),
            None => Error::ShuttingDown,
        };
        // Sending fails if the client has left.
        let _ = responses.send(Err(ended.into())).await;
    };
    tokio::spawn(stream.in_current_span());
    Ok(ReceiverStream::new(sent))
}

async fn verify_part(
    name: &'static str,
    part: Part,
    verifier: &Verifier,
    responses: &mpsc::Sender<Result<VerifyResponse, Status>>,
) -> Result<(), verifying::Error> {
    let (found, findings) = mpsc::channel(DIFFERENCES);
    let looked = async {
        let looked = verifier.run(part, &found).await;
        drop(found);
        looked
    };
    let told = tell_findings(name, findings, responses);
    let (looked, told) = tokio::join!(looked, told);
    looked?;
    let finished = VerifyResponse {
        finished: true,
        ..told?
    };
    send(responses, finished).await
}

/// Sends the findings until they end, and returns the response with the unsent rest.
async fn tell_findings(
    name: &'static str,
    mut findings: mpsc::Receiver<Finding>,
    responses: &mpsc::Sender<Result<VerifyResponse, Status>>,
) -> Result<VerifyResponse, verifying::Error> {
    let mut response = VerifyResponse {
        part: name.to_owned(),
        ..VerifyResponse::default()
    };
    let mut last = Instant::now();
    while let Some(finding) = findings.recv().await {
        match finding {
            Finding::Progress(done, total) => {
                (response.done_position, response.total_position) = (done, total);
            }
            Finding::Difference(difference) => response.differences.push(Difference {
                subject: difference.subject,
                problem: difference.problem,
            }),
        }
        if response.differences.len() >= DIFFERENCES || last.elapsed() >= PACE {
            last = Instant::now();
            let told = VerifyResponse {
                differences: std::mem::take(&mut response.differences),
                ..response.clone()
            };
            send(responses, told).await?;
        }
    }
    Ok(response)
}

async fn send(
    responses: &mpsc::Sender<Result<VerifyResponse, Status>>,
    response: VerifyResponse,
) -> Result<(), verifying::Error> {
    let sent = responses.send(Ok(response)).await;
    sent.map_err(|_| verifying::Error::Cancelled)
}

fn failed_verification(error: &verifying::Error) -> Error {
    tracing::error!(%error, "not verified to the end");
    match error {
        verifying::Error::Log(_) | verifying::Error::Stream(_) => Error::StoreUnavailable,
        verifying::Error::Store(error) => Error::from(error),
        verifying::Error::Engine(_) => Error::SearchUnavailable,
        verifying::Error::Behind { position, wanted } => Error::ReadModelBehind {
            awaited: "min_position",
            wanted: *wanted,
            position: *position,
        },
        verifying::Error::Cancelled => Error::ShuttingDown,
    }
}
