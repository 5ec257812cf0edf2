//! Rebuilding and verifying: long work, told as it goes on.

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
use wire::{Error, Violations};

use crate::{Finding, Part, Rebuilds, Stage, Step, Verifier, rebuild, verify as verifying};

/// Time between two messages that only tell how far it is.
const PACE: Duration = Duration::from_millis(200);

/// Differences in a message at most.
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

/// Those of `all` that are named, in their own order; none named is all of them.
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
    // Ends with its stream, or at shutdown; a switch that has begun is not given up.
    tokio::spawn(async move {
        for (_, projection) in chosen {
            let mut last = None;
            let told = responses.clone();
            let tell = move |step: Step| {
                let is_news = step.stage != Stage::Filling;
                if is_news || last.is_none_or(|last: Instant| last.elapsed() >= PACE) {
                    last = Some(Instant::now());
                    // One that does not fit is not worth waiting for: the next one says more.
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
                let error = failed_rebuild(projection, error, &stop);
                // Fails when nobody listens any more.
                let _ = responses.send(Err(error.into())).await;
                return;
            }
        }
    });
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

fn failed_rebuild(
    projection: Projection,
    error: rebuild::Error,
    stop: &CancellationToken,
) -> Error {
    match error {
        rebuild::Error::Cancelled if stop.is_cancelled() => Error::ShuttingDown,
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
        rebuild::Error::Wrong(_) | rebuild::Error::Cancelled => Error::Internal,
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
    // Ends with its stream, or at shutdown.
    tokio::spawn(async move {
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
        // Fails when nobody listens any more.
        let _ = responses.send(Err(ended.into())).await;
    });
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

/// Tells what is found until it ends; returns what has not been told then.
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
        verifying::Error::Cancelled => Error::Internal,
    }
}
