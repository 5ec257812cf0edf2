//! `orderlog rebuild`: rebuilds read models, or rolls them back.

use clap::{Args, ValueEnum};
use contract::orders::v1::{
    RebuildRequest, RebuildResponse, RebuildStage,
    projection_service_client::ProjectionServiceClient,
};

use super::{Failure, Run, Session, money, progress::Progress};

#[derive(Debug, Args)]
#[command(
    after_help = "Queries are answered from what there is until the new one is whole; that is kept \
                  until the next rebuild, to go back to. Ctrl-C gives the rebuild up.\n\nExamples:\n  \
                  orderlog rebuild\n  orderlog rebuild search\n  orderlog rebuild documents --rollback"
)]
pub(super) struct Rebuild {
    /// The read models to rebuild
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Go back to the generation that was used before the last rebuild
    #[arg(long)]
    rollback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The orders, names and statistics
    Documents,
    /// The search index
    Search,
    /// Both
    All,
}

impl Run for Rebuild {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let projections = match self.what {
            What::Documents => vec!["documents".to_owned()],
            What::Search => vec!["search".to_owned()],
            What::All => Vec::new(),
        };
        let request = RebuildRequest {
            projections,
            rollback: self.rollback,
        };
        let mut client = ProjectionServiceClient::new(session.connect().await?);
        let mut steps = client.rebuild(request).await?.into_inner();
        let mut progress = Progress::new();
        let mut done = Vec::new();
        while let Some(step) = steps.message().await? {
            let doing = (step.projection.clone(), step.stage);
            let told = doing_of(&step);
            progress.show(doing, &told, step.done_position, step.total_position);
            if step.stage() == RebuildStage::Done {
                done.push(step);
            }
        }
        drop(progress);
        for step in done {
            session.show("RebuildResponse", &step, told)?;
        }
        Ok(())
    }
}

fn doing_of(step: &RebuildResponse) -> String {
    let doing = match step.stage() {
        RebuildStage::Checking => "checking",
        RebuildStage::Switching | RebuildStage::Done => "switching to",
        RebuildStage::Filling | RebuildStage::Unspecified => "filling",
    };
    format!("{doing} {}", step.projection)
}

fn told(step: &RebuildResponse) -> String {
    format!(
        "{}: generation {} answers, at position {}",
        step.projection,
        step.generation,
        money::count(step.done_position)
    )
}
