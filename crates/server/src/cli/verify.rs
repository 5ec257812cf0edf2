//! `orderlog verify`: compares log, documents and search index, and prints each difference.

use clap::{Args, ValueEnum};
use contract::orders::v1::{VerifyRequest, projection_service_client::ProjectionServiceClient};

use super::{Failure, Run, Session, json, money, progress::Progress, text::printable};

#[derive(Debug, Args)]
#[command(
    after_help = "The exit code is 1 if anything is not as it should be. The node goes on \
                  meanwhile.\n\nExamples:\n  orderlog verify\n  orderlog verify log search --json"
)]
pub(super) struct Verify {
    /// The parts to compare [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Positions, versions, events and request ids
    Log,
    /// Orders, names and statistics, against the log
    Documents,
    /// The search index, against the documents
    Search,
}

impl Part {
    fn name(self) -> String {
        let name = match self {
            Self::Log => "log",
            Self::Documents => "documents",
            Self::Search => "search",
        };
        name.to_owned()
    }
}

impl Run for Verify {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = VerifyRequest {
            parts: self.parts.into_iter().map(Part::name).collect(),
        };
        let mut client = ProjectionServiceClient::new(session.connect().await?);
        let mut found = client.verify(request).await?.into_inner();
        let mut progress = Progress::new();
        let mut differences = 0;
        let mut in_part = 0;
        while let Some(response) = found.message().await? {
            let told = format!("verifying {}", response.part);
            let (done, total) = (response.done_position, response.total_position);
            progress.show(response.part.clone(), &told, done, total);
            in_part += response.differences.len() as u64;
            if session.json && (response.finished || !response.differences.is_empty()) {
                progress.print(&json::text("VerifyResponse", &response)?)?;
            }
            if session.json {
                continue;
            }
            for difference in &response.differences {
                let (subject, problem) = (&difference.subject, &difference.problem);
                progress.print(&printable(&format!("{subject} {problem}")))?;
            }
            if response.finished {
                let count = match in_part {
                    0 => "as it should be".to_owned(),
                    1 => "1 difference".to_owned(),
                    count => format!("{} differences", money::count(count)),
                };
                let position = money::count(total);
                progress.print(&format!("{}: {count}, up to {position}", response.part))?;
            }
            if response.finished {
                differences += std::mem::take(&mut in_part);
            }
        }
        drop(progress);
        match differences + in_part {
            0 => Ok(()),
            _ => Err(Failure::Told),
        }
    }
}
