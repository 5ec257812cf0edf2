//! Settings that are files: the server reads them at start and follows their changes.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings;

/// Interval of reads. Each read compares whole contents, because a mounted secret can change
/// without a new modification time. A revoked token or key is out of use after two reads.
const PAUSE: Duration = Duration::from_millis(500);

/// Minimum interval between two log lines about invalid files.
const REMIND: Duration = Duration::from_secs(60);

/// The name of a setting, and the file that the setting names.
pub(crate) type Named = (&'static str, PathBuf);

/// The index of an invalid file, and the reason.
pub(crate) type Wrong = (usize, String);

/// Builds a value from files that belong together, now and after each change. A change counts when
/// two consecutive reads find the same contents, because a writer may not be done at the first.
///
/// If changed files are invalid, the server logs an error and keeps the previous value.
///
/// # Errors
/// [`settings::Error::Unusable`] if a file is unreadable or invalid now.
pub(crate) fn follow<T: Send + Sync + 'static>(
    files: Vec<Named>,
    make: impl Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Arc<T>>, settings::Error> {
    let read = contents(&files);
    let made = read.clone().and_then(|read| make(&read));
    let made = made.map_err(|wrong| named(&files, wrong))?;
    let (sender, receiver) = watch::channel(Arc::new(made));
    let files = Arc::new(files);
    let following = async move {
        let (mut looked_at, mut seen) = (read.clone(), read);
        let mut wrong_since: Option<Instant> = None;
        loop {
            tokio::time::sleep(PAUSE).await;
            let these = Arc::clone(&files);
            // The task fails only if it panics or the runtime ends.
            let Ok(found) = tokio::task::spawn_blocking(move || contents(&these)).await else {
                return;
            };
            let is_settled = found == seen;
            seen = found;
            let is_due = wrong_since.is_some_and(|since| since.elapsed() >= REMIND);
            if !is_settled || seen == looked_at && !is_due {
                continue;
            }
            looked_at = seen.clone();
            match seen.clone().and_then(|read| make(&read)) {
                Ok(made) => {
                    wrong_since = None;
                    sender.send_replace(Arc::new(made));
                    let names: Vec<_> = files.iter().map(|(setting, _)| *setting).collect();
                    tracing::info!(settings = names.join(","), "read again");
                }
                Err(wrong) => {
                    wrong_since = Some(Instant::now());
                    let error = named(&files, wrong);
                    tracing::error!(%error, "what was read before holds");
                }
            }
        }
    };
    let stop = stop.clone();
    tasks.spawn(async move { stop.run_until_cancelled(following).await });
    Ok(receiver)
}

/// Builds a value like [`follow`], from one file of UTF-8 text.
///
/// # Errors
/// [`settings::Error::Unusable`] if the file is unreadable or invalid now.
pub(crate) fn follow_text<T: Send + Sync + 'static>(
    file: Named,
    make: impl Fn(&str) -> Result<T, String> + Send + 'static,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Arc<T>>, settings::Error> {
    let make = move |files: &[Vec<u8>]| {
        let text = std::str::from_utf8(&files[0]).map_err(|_| "must be UTF-8".to_owned());
        text.and_then(&make).map_err(|why| (0, why))
    };
    follow(vec![file], make, stop, tasks)
}

fn contents(files: &[Named]) -> Result<Vec<Vec<u8>>, Wrong> {
    let read = |(index, (_, path)): (usize, &Named)| {
        let mode = fs::metadata(path).map(|metadata| metadata.mode());
        if mode.is_ok_and(|mode| mode & 0o002 != 0) {
            return Err((index, "everybody may write to it".to_owned()));
        }
        fs::read(path).map_err(|error| (index, error.to_string()))
    };
    files.iter().enumerate().map(read).collect()
}

fn named(files: &[Named], (index, why): Wrong) -> settings::Error {
    let (setting, path) = &files[index];
    settings::Error::Unusable {
        setting,
        path: path.clone(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a file that holds a number. The tests stop the clock, which advances when all tasks
    /// wait.
    async fn numbers(file: &std::path::Path) -> watch::Receiver<Arc<u32>> {
        let make = |text: &str| text.parse().map_err(|_| "is no number".to_owned());
        let named = ("number", file.to_owned());
        follow_text(named, make, &CancellationToken::new(), &TaskTracker::new()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_changes_nothing_and_what_is_right_again_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        fs::write(&file, "1").unwrap();
        let mut number = numbers(&file).await;
        for wrong in [Some(""), Some("x"), None, Some("1")] {
            match wrong {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            tokio::time::sleep(10 * PAUSE).await;
            assert_eq!(**number.borrow(), 1, "{wrong:?}");
        }
        number.mark_unchanged();
        fs::write(&file, "2").unwrap();
        number.changed().await.unwrap();
        assert_eq!(**number.borrow(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        fs::write(&file, "1").unwrap();
        let mut number = numbers(&file).await;
        for digits in 1..20 {
            // Each text is valid, but changes before a second read confirms it.
            fs::write(&file, "7".repeat(digits % 9 + 1)).unwrap();
            tokio::time::sleep(PAUSE).await;
        }
        assert!(!number.has_changed().unwrap());
        fs::write(&file, "42").unwrap();
        number.changed().await.unwrap();
        assert_eq!(**number.borrow(), 42);
    }
}
