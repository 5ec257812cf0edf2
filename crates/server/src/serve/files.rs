//! Settings that are files, and are looked at again while the server runs.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::settings;

/// How often files are looked at: whole, for a mounted secret changes without a new time.
const PAUSE: Duration = Duration::from_secs(1);

/// A file, and the setting that names it.
pub(super) type Named = (&'static str, PathBuf);

/// What is wrong with the file at this index.
pub(super) type Wrong = (usize, String);

/// Makes something of files now, and again whenever they change. Where they become wrong, the error
/// is logged, and what was made before holds.
///
/// # Errors
/// A file that cannot be read, or is wrong.
pub(super) fn follow<T: Send + Sync + 'static>(
    files: Vec<Named>,
    make: impl Fn(&[Vec<u8>]) -> Result<T, Wrong> + Send + 'static,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<watch::Receiver<Arc<T>>, settings::Error> {
    let mut seen = contents(&files).map_err(|wrong| named(&files, wrong))?;
    let made = make(&seen).map_err(|wrong| named(&files, wrong))?;
    let (sender, receiver) = watch::channel(Arc::new(made));
    let files = Arc::new(files);
    let following = async move {
        let mut complained = None;
        loop {
            tokio::time::sleep(PAUSE).await;
            let these = Arc::clone(&files);
            // Cancelled only where the runtime ends.
            let Ok(found) = tokio::task::spawn_blocking(move || contents(&these)).await else {
                return;
            };
            let changed = match found {
                Ok(found) if found == seen => {
                    complained = None;
                    continue;
                }
                Ok(found) => {
                    let made = make(&found);
                    if made.is_ok() {
                        seen = found;
                    }
                    made
                }
                Err(wrong) => Err(wrong),
            };
            match changed {
                Ok(made) => {
                    complained = None;
                    sender.send_replace(Arc::new(made));
                    let names: Vec<_> = files.iter().map(|(setting, _)| *setting).collect();
                    tracing::info!(settings = names.join(","), "read again");
                }
                Err(wrong) => {
                    let error = named(&files, wrong).to_string();
                    if complained.as_ref() != Some(&error) {
                        tracing::error!(error, "what was read before holds");
                        complained = Some(error);
                    }
                }
            }
        }
    };
    let stop = stop.clone();
    tasks.spawn(async move { stop.run_until_cancelled(following).await });
    Ok(receiver)
}

fn contents(files: &[Named]) -> Result<Vec<Vec<u8>>, Wrong> {
    let read = |(index, (_, path)): (usize, &Named)| {
        fs::read(path).map_err(|error: io::Error| (index, error.to_string()))
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
