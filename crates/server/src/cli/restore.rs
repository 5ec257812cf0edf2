//! `orderlog restore`: makes a log from an exported file.

use std::path::{Path, PathBuf};

use clap::Args;
use event_log::copy::{LogId, Restore as Restored};
use read_model::generations::Generations;

use super::{
    Failure, copy,
    export::{check, json, text},
    progress::Progress,
    session::print,
};
use crate::settings::{Flags, Places, Sources, table::LOG};

#[derive(Debug, Args)]
#[command(
    after_help = "Stop the nodes first, and remove the read models: they are made again from the log. \
                  Broken off, it goes on when it is run again; until it is through, the log is not \
                  served.\n\nExample:\n  \
                  orderlog restore --data-dir /var/lib/orderlog /backup/orders.db"
)]
pub(super) struct Restore {
    /// A file that a log was exported to
    file: PathBuf,
    /// Give the log a new id, so that whoever followed it beyond its end is refused: for when events
    /// were lost
    #[arg(long)]
    new_log_id: bool,
    #[command(flatten)]
    log: Flags<LOG>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) async fn run(self, sources: Sources<'_>) -> Result<(), Failure> {
        let Places { data_dir, log } = sources.with(self.log).places()?;
        check_no_read_models(&data_dir)?;
        let failed = |error: event_log::copy::Error| Failure::Operation(error.to_string());
        let restored = Restored::open(&self.file, &log).await.map_err(failed)?;
        let log_id = if self.new_log_id {
            LogId::New
        } else {
            LogId::Kept
        };
        let mut shown = Progress::new();
        check(&self.file, &mut shown).await?;
        let mut tell = |progress| copy::show(&mut shown, progress);
        let copied = restored.run(log_id, &mut tell).await.map_err(failed)?;
        drop(shown);
        if log_id == LogId::Kept {
            let head = copied.events;
            eprintln!(
                "note: read models beyond position {head} are made again, and subscribers beyond it get \
                 LOG_DIVERGED; one without a resume token misreads the log once it has passed it: use \
                 --new-log-id if there is one"
            );
        }
        Ok(print(&if self.json {
            json(&copied)?
        } else {
            format!("{} in {log}", text(&copied))
        })?)
    }
}

/// Fails if the data folder holds read models: they may contain events that the restored log lacks.
fn check_no_read_models(data_dir: &Path) -> Result<(), Failure> {
    for name in ["read.db", "search"] {
        if let Some(found) = Generations::found(data_dir, name)? {
            let found = found.display();
            let told =
                format!("{found} is there: remove the read models of the log of before first");
            return Err(Failure::Operation(told));
        }
    }
    Ok(())
}
