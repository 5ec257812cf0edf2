//! `orderlog copy`: copies a log between SQLite and Postgres.

use std::io;

use clap::Args;
use event_log::{
    Location,
    copy::{self, Copied, Progress, Stage},
};

use super::{Failure, money, progress::Progress as Shown, session::print};
use crate::settings::location_of;

#[derive(Debug, Args)]
#[command(
    after_help = "Stop the nodes that run on either first. Broken off, it goes on when it is \
                        run again.\n\nExample:\n  \
                        orderlog copy --from sqlite:data/events.db --to postgres://ann@db/orders"
)]
pub(super) struct Copy {
    /// The log to copy: sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    from: String,
    /// The log to write: an empty one, or an older or unfinished copy of --from
    #[arg(long, value_name = "URL")]
    to: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Copy {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let from = location_of("from", &self.from)?;
        let to = location_of("to", &self.to)?;
        let mut shown = Shown::new();
        let copied = copy::run(&from, &to, &mut |progress| show(&mut shown, progress)).await;
        drop(shown);
        let copied = copied.map_err(|error| Failure::Operation(error.to_string()))?;
        Ok(print(&if self.json {
            let Copied {
                log_id,
                events,
                requests,
                new_events,
            } = copied;
            let summary = serde_json::json!({
                "logId": log_id, "events": events, "requests": requests, "newEvents": new_events,
            });
            serde_json::to_string(&summary).map_err(io::Error::from)?
        } else {
            text(&copied, &to)
        })?)
    }
}

/// Shows the progress of a copy.
pub(super) fn show(shown: &mut Shown<&'static str>, progress: Progress) {
    let Progress { stage, done, all } = progress;
    let doing = match stage {
        Stage::Events => "copying events",
        Stage::Requests => "copying request ids",
        Stage::Verifying => "comparing",
    };
    shown.show(doing, doing, done, all);
}

fn text(copied: &Copied, to: &Location) -> String {
    format!(
        "log {}: {} events ({} new) and {} request ids are in {to}, the same as in the source",
        copied.log_id,
        money::count(copied.events),
        money::count(copied.new_events),
        money::count(copied.requests),
    )
}
