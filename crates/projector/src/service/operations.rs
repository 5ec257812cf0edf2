//! Rebuild and Verify: long operations that stream their progress.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use contract::orders::v1::{
    Difference, RebuildRequest, RebuildResponse, RebuildStage, VerifyRequest, VerifyResponse,
};
use read_model::{generations::NextGeneration, store::Projection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument as _;
use wire::{Error, Violations};

use crate::{
    rebuild::{self, RebuildProgress, Rebuilds, Stage},
    verify::{self as verifying, Finding, Part, Verifier},
};

/// Minimum interval between two messages that only report progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of differences in one message.
const MAX_DIFFERENCES: usize = 500;

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
    let next = if request.rollback {
        NextGeneration::Previous
    } else {
        NextGeneration::New
    };
    let (responses, sent) = mpsc::channel(16);
    // The rebuild ends when its client leaves, or at shutdown. A switch that has begun completes.
    let stream = async move {
        for (_, projection) in chosen {
            let mut last = None;
            let sender = responses.clone();
            let report = move |progress: RebuildProgress| {
                let is_due = last.is_none_or(|(stage, at): (Stage, Instant)| {
                    stage != progress.stage || at.elapsed() >= PROGRESS_INTERVAL
                });
                // A message is dropped while the client does not read: the next one reports later
                // progress. The last message of each projection has a place of its own.
                let is_last = progress.stage == Stage::Done;
                let has_place = is_last || sender.capacity() > PROJECTIONS.len();
                if is_due && has_place {
                    last = Some((progress.stage, Instant::now()));
                    let _ = sender.try_send(Ok(message(progress)));
                }
            };
            let cancelled = stop.child_token();
            let run = rebuilds.run(projection, next, report, cancelled.clone());
            let gone = async {
                responses.closed().await;
                cancelled.cancel();
                pending().await
            };
            // The rebuild ends by itself when it is cancelled.
            let rebuilt = tokio::select! {
                rebuilt = run => rebuilt,
                rebuilt = gone => rebuilt,
            };
            if let Err(error) = rebuilt {
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

fn message(progress: RebuildProgress) -> RebuildResponse {
    let stage = match progress.stage {
        Stage::Filling => RebuildStage::Filling,
        Stage::Checking => RebuildStage::Checking,
        Stage::Switching => RebuildStage::Switching,
        Stage::Done => RebuildStage::Done,
    };
    RebuildResponse {
        projection: progress.projection.name().to_owned(),
        stage: stage.into(),
        done_position: progress.done,
        total_position: progress.total,
        generation: progress.generation,
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
        | rebuild::Error::Revised
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
    verifier: Verifier,
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
    let (found, findings) = mpsc::channel(MAX_DIFFERENCES);
    let verified = async {
        let verified = verifier.run(part, &found).await;
        drop(found);
        verified
    };
    let sent = send_findings(name, findings, responses);
    let (verified, unsent) = tokio::join!(verified, sent);
    verified?;
    let finished = VerifyResponse {
        finished: true,
        ..unsent?
    };
    send(responses, finished).await
}

/// Sends the findings until they end, and returns the response with the unsent rest.
async fn send_findings(
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
        if response.differences.len() >= MAX_DIFFERENCES || last.elapsed() >= PROGRESS_INTERVAL {
            last = Instant::now();
            let response_part = VerifyResponse {
                differences: std::mem::take(&mut response.differences),
                ..response.clone()
            };
            send(responses, response_part).await?;
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
    tracing::error!(%error, "the verification failed");
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
