//! The rebuild of the documents.

use read_model::{
    generations::{Generation, Generations, NextGeneration},
    store::{self, Projection, TotalsCheck, Writer},
};

use super::{Error, MAX_SWITCH_LAG, RebuildProgress, Shared, Stage, blocking};
use crate::{
    backoff::Backoff,
    documents::DocumentsSwitch,
    stream::{self, Stream},
};

/// Maximum number of consecutive failed attempts to read the log before a rebuild fails: with the
/// delays of [`Backoff`], about 30 s.
const MAX_READ_FAILURES: u32 = 18;

impl Shared {
    pub(super) async fn rebuild_documents(
        &self,
        next: NextGeneration,
        report: &mut (impl FnMut(RebuildProgress) + Send),
        cancelled: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        if !self.live.reader.is_consistent() {
            // The live documents are being replaced already, because the log went back.
            return Err(store::Error::Diverged.into());
        }
        let (mut writer, generation) = self.open_documents(next).await?;
        let number = generation.number;
        let progress = |stage, done| RebuildProgress {
            projection: Projection::Documents,
            stage,
            done,
            total: self.live.documents.progress().report().head,
            generation: number,
        };
        let mut report_stage = |stage, done| report(progress(stage, done));
        let filled = tokio::select! {
            filled = self.fill_and_check(&mut writer, &mut report_stage) => filled,
            () = cancelled => Err(Error::Cancelled),
        };
        let switched = match filled {
            Ok(()) => {
                self.switch_documents(writer, &generation, &mut report_stage)
                    .await
            }
            Err(error) => {
                writer.close().await;
                Err(error)
            }
        };
        if let Err(error) = switched {
            let discard = move |files: &Generations| files.discard_unfinished(&generation);
            blocking(&self.live.generations, discard).await?;
            return Err(error);
        }
        let position = self.live.reader.position();
        report(RebuildProgress {
            total: position,
            ..progress(Stage::Done, position)
        });
        Ok(())
    }

    async fn open_documents(&self, next: NextGeneration) -> Result<(Writer, Generation), Error> {
        let opened = blocking(&self.live.generations, move |files| files.open_next(next));
        let generation = opened.await?.ok_or(Error::NoPrevious)?;
        let (path, number) = (&generation.path, generation.number);
        let writer = match next {
            NextGeneration::New => Writer::open_new(path, number).await?,
            NextGeneration::Previous => Writer::open(path, number).await?,
        };
        if writer.is_outdated() {
            writer.close().await;
            return Err(Error::Outdated);
        }
        Ok((writer, generation))
    }

    async fn fill_and_check(
        &self,
        writer: &mut Writer,
        report: &mut (impl FnMut(Stage, u64) + Send),
    ) -> Result<(), Error> {
        self.fill_documents(writer, &mut |done| report(Stage::Filling, done))
            .await?;
        report(Stage::Checking, writer.position());
        writer.finish().await?;
        if let Some(problem) = writer.check().await? {
            return Err(Error::Wrong(problem));
        }
        // The lists of a previous generation may be of another version.
        while writer.is_filling_lists() {
            writer.fill_lists().await?;
        }
        let generations = &self.live.generations;
        let live = blocking(generations, Generations::live).await?;
        writer.compare_with(&live.path).await?;
        // The check took its time. The live documents stand still while the rest is applied.
        self.fill_documents(writer, &mut |_| {}).await
    }

    /// Feeds the log to a generation until it is at most [`MAX_SWITCH_LAG`] events behind the live
    /// documents.
    async fn fill_documents(
        &self,
        writer: &mut Writer,
        report: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        let mut failures = 0;
        loop {
            let mut progressed = |done| {
                failures = 0;
                backoff.reset();
                report(done);
            };
            match self.read_log(writer, &mut progressed).await {
                Ok(()) if writer.position() + MAX_SWITCH_LAG >= self.live.reader.position() => {
                    return Ok(());
                }
                Ok(()) => {}
                Err(Error::Log(_)) if failures < MAX_READ_FAILURES => {
                    failures += 1;
                    self.live.nodes.turn_to_next();
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies the log to a generation, up to the head at the time of the call.
    async fn read_log(
        &self,
        writer: &mut Writer,
        report: &mut (impl FnMut(u64) + Send),
    ) -> Result<(), Error> {
        let failed = |error: stream::Error| match error {
            // A retry would not help: the live documents start over too.
            stream::Error::Diverged(..) | stream::Error::OtherLog(..) => {
                store::Error::Diverged.into()
            }
            error => Error::Log(error.to_string()),
        };
        let opened = Stream::open(&self.live.nodes, writer.checkpoint(), false).await;
        let mut stream = opened.map_err(failed)?;
        loop {
            let response = match stream.next().await {
                Ok(response) => response,
                // The stream ends at the head at the time of the call.
                Err(stream::Error::Ended(_)) => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            let (log_id, position) = (&response.log_id, response.position);
            writer.apply(log_id, &response.events, position).await?;
            report(writer.position());
        }
    }

    /// Switches to the new generation. If its totals differ from the live ones, compares it with
    /// the log first, and then switches without the comparison of totals.
    async fn switch_documents(
        &self,
        mut writer: Writer,
        generation: &Generation,
        report: &mut (impl FnMut(Stage, u64) + Send),
    ) -> Result<(), Error> {
        let mut totals = TotalsCheck::Compare;
        loop {
            report(Stage::Switching, writer.position());
            let switch = DocumentsSwitch {
                writer,
                generations: self.live.generations.clone(),
                generation: generation.clone(),
                totals,
            };
            let error = match self.live.documents.switch(switch).await? {
                Ok(()) => return Ok(()),
                Err((error, returned)) => {
                    writer = returned;
                    error
                }
            };
            let checked = match error {
                store::Error::Differs(_) if totals == TotalsCheck::Compare => {
                    tracing::warn!(%error, "the new generation is compared with the log");
                    report(Stage::Checking, writer.position());
                    totals = TotalsCheck::Skip;
                    match self.compare_with_log(generation).await {
                        // The comparison took its time too.
                        Ok(()) => self.fill_documents(&mut writer, &mut |_| {}).await,
                        wrong => wrong,
                    }
                }
                error => Err(error.into()),
            };
            if let Err(error) = checked {
                writer.close().await;
                return Err(error);
            }
        }
    }

    /// Compares the new generation with the log after its totals differed from the live ones.
    ///
    /// # Errors
    /// [`Error::Wrong`] if the new generation differs from the log. Otherwise the live generation
    /// is the wrong one.
    async fn compare_with_log(&self, new: &Generation) -> Result<(), Error> {
        match self.verifier.first_difference(&new.path).await? {
            Some(store::Difference { subject, problem }) => {
                Err(Error::Wrong(format!("{subject} {problem}")))
            }
            None => Ok(()),
        }
    }
}
