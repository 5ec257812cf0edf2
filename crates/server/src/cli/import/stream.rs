//! Sends the commands of an import, and sends unanswered ones once more after a failure.

use std::{collections::VecDeque, io, time::Duration};

use contract::{
    google::rpc,
    orders::v1::{
        ExecuteCommandsRequest, ExecuteCommandsResponse,
        command_service_client::CommandServiceClient, execute_commands_response::Result as Answer,
    },
};
use indicatif::ProgressBar;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use wire::Connection;

use super::{Line, Summary};
use crate::cli::{
    Failure,
    failure::{cause, reason},
    retry::{Backoff, Interruption},
};

/// Limit of commands that are sent but not answered.
const IN_FLIGHT: usize = 1024;

/// Sends commands and receives their answers, over as many connections as needed.
///
/// A command leaves `pending` with its answer, and a new connection first sends all of `pending`:
/// so no command is lost. The request ids prevent a second effect.
pub(super) struct Stream<'a> {
    client: CommandServiceClient<Connection>,
    lines: mpsc::Receiver<io::Result<Line>>,
    /// True until the reader has delivered the last line.
    more: bool,
    /// Commands without an answer yet, with their line numbers.
    pending: VecDeque<(u64, ExecuteCommandsRequest)>,
    backoff: Backoff,
    summary: Summary,
    tell: &'a dyn Fn(String),
    bar: &'a ProgressBar,
}

impl<'a> Stream<'a> {
    /// Creates the stream. `tell` reports each line that is not accepted, and each interruption.
    pub(super) fn new(
        client: CommandServiceClient<Connection>,
        lines: mpsc::Receiver<io::Result<Line>>,
        tell: &'a dyn Fn(String),
        bar: &'a ProgressBar,
    ) -> Self {
        Self {
            client,
            lines,
            more: true,
            pending: VecDeque::new(),
            backoff: Backoff::new(),
            summary: Summary::default(),
            tell,
            bar,
        }
    }

    /// Sends all lines.
    ///
    /// # Errors
    /// [`Failure::Operation`] if no answer arrives for `patience`, or a retry would not help.
    pub(super) async fn run(mut self, patience: Duration) -> Result<Summary, Failure> {
        loop {
            let cause = match self.connection().await {
                Ok(()) => return Ok(self.summary),
                Err(Interruption::Transient(cause)) => cause,
                Err(Interruption::Final(failure)) => return Err(self.known(&failure.to_string())),
            };
            if self.backoff.failed() {
                (self.tell)(format!("{cause}: trying again"));
            }
            if self.backoff.failing_for() >= patience {
                let seconds = patience.as_secs();
                return Err(self.known(&format!("no answer for {seconds} s: {cause}")));
            }
            self.backoff.pause().await;
        }
    }

    /// Makes the failure that ends the import, with the known outcome of its commands.
    fn known(&self, cause: &str) -> Failure {
        let rest = match self.pending.front() {
            Some((line, _)) => format!("from line {line} on nothing is known"),
            None => "all lines read before were answered".to_owned(),
        };
        Failure::Operation(format!(
            "{cause}; {} so far; {rest}; importing the file again is harmless",
            self.summary.text()
        ))
    }

    /// Sends the pending commands and all further lines over one connection.
    ///
    /// # Errors
    /// [`Interruption`] says whether a retry may succeed.
    async fn connection(&mut self) -> Result<(), Interruption> {
        while self.more && self.pending.is_empty() {
            let line = self.lines.recv().await;
            self.line(line)?;
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        // All commands in the channel are pending too, so it always has room. A lost connection
        // shows as an error of `answers`.
        let (requests, receiver) = mpsc::channel(IN_FLIGHT);
        for (_, request) in &self.pending {
            let _ = requests.try_send(request.clone());
        }
        let mut client = self.client.clone();
        let mut answers = client
            .execute_commands(ReceiverStream::new(receiver))
            .await?
            .into_inner();
        while self.more || !self.pending.is_empty() {
            tokio::select! {
                answer = answers.message() => match answer? {
                    Some(answer) => self.answered(answer)?,
                    None => return Err(Interruption::ended()),
                },
                line = self.lines.recv(), if self.more && self.pending.len() < IN_FLIGHT => {
                    if let Some(request) = self.line(line)? {
                        let _ = requests.try_send(request);
                    }
                }
            }
        }
        Ok(())
    }

    /// Receives the next line. Its command, if it has one, becomes pending.
    ///
    /// # Errors
    /// [`Interruption::Final`] if the file is unreadable.
    fn line(
        &mut self,
        line: Option<io::Result<Line>>,
    ) -> Result<Option<ExecuteCommandsRequest>, Interruption> {
        let Some(line) = line else {
            self.more = false;
            return Ok(None);
        };
        let line = line.map_err(|error| Interruption::Final(error.into()))?;
        self.bar.set_position(line.end);
        self.summary.commands += 1;
        match line.command {
            Ok(request) => {
                self.pending.push_back((line.number, request.clone()));
                Ok(Some(request))
            }
            Err(reason) => {
                self.summary.invalid += 1;
                (self.tell)(format!("line {}: {reason}", line.number));
                Ok(None)
            }
        }
    }

    /// Receives the answer to the oldest pending command.
    ///
    /// # Errors
    /// - [`Interruption::Transient`]: the server is unavailable or overloaded.
    /// - [`Interruption::Final`]: the server sent more answers than it received commands.
    fn answered(&mut self, answer: ExecuteCommandsResponse) -> Result<(), Interruption> {
        let outcome = match answer.result {
            Some(Answer::Error(error)) => Err(status(&error)),
            Some(reply) => Ok(reply.position().unwrap_or_default()),
            None => Err(Status::unknown("an answer that this version does not know")),
        };
        if let Err(status) = &outcome
            && matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        {
            // Later commands may depend on this one, so the retry sends it and all after it.
            return Err(Interruption::Transient(cause(status)));
        }
        let Some((line, _)) = self.pending.pop_front() else {
            let cause = "the server answered more commands than were sent".to_owned();
            return Err(Interruption::Final(Failure::Operation(cause)));
        };
        self.backoff.succeeded();
        match outcome {
            Ok(position) => {
                self.summary.accepted += 1;
                self.summary.position = self.summary.position.max(position);
            }
            Err(status) => {
                self.summary.refused += 1;
                let (cause, reason) = (cause(&status), reason(&status));
                (self.tell)(format!("line {line}: {cause} ({reason})"));
            }
        }
        Ok(())
    }
}

/// Converts an error inside a stream to the status that a unary call would return.
fn status(error: &rpc::Status) -> Status {
    Status::with_details(
        Code::from_i32(error.code),
        &error.message,
        error.encode_to_vec().into(),
    )
}
