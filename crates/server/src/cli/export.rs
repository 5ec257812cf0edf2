//! `orderlog export`: copies the log to a file and verifies the file.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use command_side::verify_file;
use event_log::copy::{Copied, export};

use super::{Failure, copy, money, progress::Progress, session::print, text::printable};
use crate::settings::{Flags, Sources, table::LOG};

#[derive(Debug, Args)]
#[command(
    after_help = "Nodes go on meanwhile: the file has what was in the log when this began. Broken off, \
                  it goes on when it is run again with the same file.\n\nExample:\n  \
                  orderlog export --data-dir /var/lib/orderlog /backup/orders.db"
)]
pub(super) struct Export {
    /// The file to make
    file: PathBuf,
    #[command(flatten)]
    log: Flags<LOG>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(super) async fn run(self, sources: Sources<'_>) -> Result<(), Failure> {
        let from = sources.with(self.log).places()?.log;
        let failed = |error: event_log::copy::Error| Failure::Operation(error.to_string());
        let mut shown = Progress::new();
        let mut tell = |progress| copy::show(&mut shown, progress);
        let exported = export(&from, &self.file, &mut tell).await.map_err(failed)?;
        check(&exported.unfinished(), &mut shown).await?;
        drop(shown);
        let copied = exported.finish().map_err(failed)?;
        Ok(print(&if self.json {
            json(&copied)?
        } else {
            format!("{} in {}", text(&copied), self.file.display())
        })?)
    }
}

/// Verifies the file that a log was exported to.
///
/// # Errors
/// The file is damaged or unreadable.
pub(super) async fn check(file: &Path, shown: &mut Progress<&'static str>) -> Result<(), Failure> {
    const DOING: &str = "verifying";
    let found = verify_file(file, &mut |done, all| shown.show(DOING, DOING, done, all)).await;
    let file = file.display();
    match found {
        Ok(None) => Ok(()),
        Ok(Some(found)) => {
            let told = format!("{file} is damaged: {} {}", found.subject, found.problem);
            Err(Failure::Operation(printable(&told)))
        }
        Err(error) => Err(Failure::Operation(format!("{file}: {error}"))),
    }
}

/// Describes the contents of an exported file or a restored log.
pub(super) fn text(copied: &Copied) -> String {
    let Copied {
        log_id,
        events,
        requests,
        ..
    } = copied;
    format!(
        "log {log_id}: {} events, up to position {events}, and {} request ids are",
        money::count(*events),
        money::count(*requests),
    )
}

pub(super) fn json(copied: &Copied) -> io::Result<String> {
    let Copied {
        log_id,
        events,
        requests,
        ..
    } = copied;
    let summary = serde_json::json!({
        "logId": log_id, "events": events, "headPosition": events, "requests": requests,
    });
    Ok(serde_json::to_string(&summary)?)
}
