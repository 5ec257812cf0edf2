//! `orderlog import`: sends the commands of a file.
//!
//! A thread reads the file and parses its lines into commands ([`lines`]). `stream` sends them to
//! the server with many in flight. Both hold a bounded number of lines, however long the file is.

pub mod lines;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use clap::Args;
use contract::orders::v1::command_service_client::CommandServiceClient;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Failure, Run, Session, json,
    session::{print, tell as tell_user},
};
use lines::{Line, Lines};
use stream::Stream;

/// Capacity, in lines, of the queue between the reader and the sender.
const READ_AHEAD: usize = 1024;

/// Time for which the import retries without an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[command(
    after_help = "Each line is one command in protobuf JSON, as ExecuteCommands takes it:\n  \
    {\"registerProduct\": {\"requestId\": \"p-1\", \"productId\": \"P1\", \"name\": \"Chai\"}}\n\n\
    A line that is wrong or refused is reported by its number; the import goes on, and exits with \
    1 at the end.\n\n\
    Running an import again is harmless, also after an interruption: a command with the same \
    requestId has one effect only. A command without one gets an id made of its line's number \
    and text. So the same file may be imported again, with wrong lines corrected in place or more \
    lines at the end; but do not move lines, and give requestIds to commands that another file \
    repeats on the same line.\n\n\
    Example:\n  orderlog import commands.jsonl"
)]
pub(super) struct Import {
    /// The file, or - for standard input
    file: PathBuf,
}

/// The outcome of an import.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Summary {
    /// All lines that are not blank.
    commands: u64,
    /// Commands that the server executed, now or in an earlier import.
    accepted: u64,
    /// Commands that the server rejected.
    refused: u64,
    /// Lines that are no command.
    invalid: u64,
    /// The highest log position of the accepted commands. A query with this `min_position` reads
    /// all of them.
    position: u64,
}

impl Summary {
    fn text(&self) -> String {
        let Self {
            commands,
            accepted,
            refused,
            invalid,
            ..
        } = self;
        let text = format!("{commands} commands: {accepted} accepted, {refused} refused");
        match invalid {
            0 => text,
            _ => format!("{text}, {invalid} invalid"),
        }
    }
}

impl Run for Import {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let (input, size) = open(&self.file)?;
        let client = CommandServiceClient::new(session.connect().await?);
        let (reader, lines) = read(input)?;
        let bar = progress(size);
        let tell = |line: String| bar.suspend(|| tell_user(&line));
        let outcome = Stream::new(client, lines, &tell, &bar).run(PATIENCE).await;
        bar.finish_and_clear();
        let summary = outcome?;
        // The channel of lines is closed, so the thread has ended.
        if reader.join().is_err() {
            return Err(Failure::Operation("reading the file broke off".to_owned()));
        }
        print(&if session.json {
            serde_json::to_string(&summary).map_err(io::Error::from)?
        } else {
            summary.text()
        })?;
        if summary.accepted < summary.commands {
            return Err(Failure::Told);
        }
        Ok(())
    }
}

/// Opens the file or standard input. Also returns the size in bytes, if known.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened
        .map_err(|error| Failure::Operation(format!("cannot read {}: {error}", path.display())))?;
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(1 << 18, file)), size))
}

/// Reads and parses lines on a thread of its own. Parsing a line takes more time than sending it,
/// and a read from a terminal or pipe may block.
fn read(
    input: impl BufRead + Send + 'static,
) -> Result<(JoinHandle<()>, mpsc::Receiver<io::Result<Line>>), Failure> {
    let lines = Lines::new(input, json::descriptor("ExecuteCommandsRequest")?);
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = thread::Builder::new()
        .name("import".to_owned())
        .spawn(move || {
            for line in lines {
                let last = line.is_err();
                if sender.blocking_send(line).is_err() || last {
                    break;
                }
            }
        })?;
    Ok((reader, receiver))
}

/// Makes a progress bar, which is visible on a terminal only.
fn progress(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes}, {bytes_per_sec}",
        ),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
