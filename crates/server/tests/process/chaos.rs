//! Tests random operator actions while commands flow and the process is killed.

use std::{
    env, fmt,
    path::Path,
    process::{Child, Output, Stdio},
    time::Duration,
};

use e2e::Process;
use tokio::{task::block_in_place, time::Instant};

use crate::{
    binary::{orderlog, start},
    load::{Load, read_own_write},
};

/// The interrupting event comes up to 600 ms after the action starts.
const MAX_MOMENT: Duration = Duration::from_millis(600);

/// A random action of an operator, or a crash.
#[derive(Debug, Clone, Copy)]
enum Action {
    Rebuild(&'static str),
    Rollback(&'static str),
    /// The second rebuild starts at a random moment after the first.
    RebuildTwice(&'static str, &'static str),
    /// The client process is killed at a random moment.
    RebuildCancelled(&'static str),
    /// The server is killed with SIGKILL at a random moment.
    RebuildKilled(&'static str),
    Kill,
    Terminate,
    RetryParked,
    Export,
    Verify,
}

impl Action {
    fn any(random: &mut fastrand::Rng) -> Self {
        let what = *random.choice(&["documents", "search", "all"]).unwrap();
        let other = *random.choice(&["documents", "search", "all"]).unwrap();
        match random.u8(0..14) {
            0..=2 => Self::Rebuild(what),
            3..=4 => Self::Rollback(what),
            5..=6 => Self::RebuildTwice(what, other),
            7 => Self::RebuildCancelled(what),
            8 => Self::RebuildKilled(what),
            9 => Self::Kill,
            10 => Self::Terminate,
            11 => Self::RetryParked,
            12 => Self::Export,
            _ => Self::Verify,
        }
    }
}

/// The random seed and the actions so far, to reproduce a failure.
struct Story {
    seed: u64,
    actions: Vec<Action>,
}

impl fmt::Display for Story {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.actions[self.actions.len().saturating_sub(12)..];
        let count = self.actions.len();
        write!(
            to,
            "CHAOS_SEED={}, action {count}, the last ones {last:?}",
            self.seed
        )
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self}");
        }
    }
}

/// Reads a number from an environment variable that configures the test.
fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn spawn<const N: usize>(process: &Process, arguments: [&str; N]) -> Child {
    let mut command = orderlog();
    command
        .env("ORDERLOG_SERVER", process.url())
        .args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Sleeps for a random time of up to [`MAX_MOMENT`].
async fn moment(random: &mut fastrand::Rng) {
    tokio::time::sleep(MAX_MOMENT.mul_f64(random.f64())).await;
}

fn output(child: Child) -> Output {
    block_in_place(|| child.wait_with_output().unwrap())
}

/// Returns whether the command succeeded.
///
/// # Panics
/// Panics if the command failed with another error than `unless`.
fn succeeded(output: &Output, unless: &str, story: &Story) -> bool {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || !unless.is_empty() && error.contains(unless),
        "{story}: {output:?}"
    );
    output.status.success()
}

fn restarted(folder: &Path, load: &Load) -> Process {
    let process = block_in_place(|| start(folder));
    load.follow(&process);
    process
}

/// Runs an action. Returns the process that serves after it.
async fn act(
    action: Action,
    process: Process,
    folder: &Path,
    (load, random, story): (&Load, &mut fastrand::Rng, &Story),
) -> Process {
    match action {
        Action::Rebuild(what) => {
            let output = run(&process, &["rebuild", what]);
            succeeded(&output, "", story);
        }
        Action::Rollback(what) => {
            let output = run(&process, &["rebuild", what, "--rollback"]);
            succeeded(&output, "there is no previous generation", story);
        }
        Action::RebuildTwice(one, other) => {
            let first = spawn(&process, ["rebuild", one]);
            moment(random).await;
            let second = spawn(&process, ["rebuild", other]);
            let done = [first, second]
                .map(|child| succeeded(&output(child), "a rebuild of it is under way", story));
            assert!(done.contains(&true), "{story}");
        }
        Action::RebuildCancelled(what) => {
            let mut rebuild = spawn(&process, ["rebuild", what]);
            moment(random).await;
            rebuild.kill().unwrap();
            output(rebuild);
        }
        Action::RebuildKilled(what) => {
            let rebuild = spawn(&process, ["rebuild", what]);
            moment(random).await;
            process.kill();
            output(rebuild);
            return restarted(folder, load);
        }
        Action::Kill => {
            process.kill();
            return restarted(folder, load);
        }
        Action::Terminate => {
            assert_eq!(process.shut_down().await, Some(0), "{story}");
            return restarted(folder, load);
        }
        Action::RetryParked => {
            let output = run(&process, &["parked", "retry"]);
            succeeded(&output, "", story);
            let printed = String::from_utf8_lossy(&output.stdout);
            assert_eq!(printed, "recovered 0, 0 parked still\n", "{story}");
        }
        Action::Export => export(folder, story),
        Action::Verify => {
            succeeded(&run(&process, &["verify"]), "", story);
        }
    }
    process
}

/// Runs a client command.
fn run(process: &Process, arguments: &[&str]) -> Output {
    block_in_place(|| process.run(arguments))
}

/// Exports the log to a file, and deletes the file.
fn export(folder: &Path, story: &Story) {
    let file = folder.join(format!("export-{}.db", story.actions.len()));
    let mut export = orderlog();
    export.arg("export").arg(&file);
    export.arg("--data-dir").arg(folder);
    let output = block_in_place(|| export.output().unwrap());
    succeeded(&output, "", story);
    std::fs::remove_file(file).unwrap();
}

/// Runs for 60 s or `CHAOS_SECONDS`, with sleeps of up to `CHAOS_PAUSE_SECONDS` between actions.
/// `CHAOS_SEED` replaces the random seed.
#[tokio::test(flavor = "multi_thread")]
async fn g5_g7_g8_g9_g10_random_operations_and_kills_under_load_leave_no_difference() {
    let seed = setting("CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let until = Instant::now() + Duration::from_secs(setting("CHAOS_SECONDS").unwrap_or(60));
    let pause = Duration::from_secs(setting("CHAOS_PAUSE_SECONDS").unwrap_or(0));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut story = Story {
        seed,
        actions: Vec::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path());
    let load = Load::start(&process, 4);
    // An empty log has nothing to rebuild.
    read_own_write(&mut process.clients().await, "first").await;
    while Instant::now() < until {
        let action = Action::any(&mut random);
        story.actions.push(action);
        process = act(action, process, folder.path(), (&load, &mut random, &story)).await;
        let mut clients = process.clients().await;
        read_own_write(&mut clients, &format!("own-{}", story.actions.len())).await;
        tokio::time::sleep(pause.mul_f64(random.f64())).await;
    }
    load.finish(&process).await;
    println!("{story}");
}
