//! The program as a child process of the test.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use test_support::DEADLINE;

use crate::Clients;

/// A server in a child process: a test can kill it, measure it and call it on the command line.
/// Dropping this value kills the process.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    child: Child,
    url: String,
    metrics: Option<String>,
}

impl From<Command> for Process {
    /// Starts the command and returns when its log reports that it serves.
    fn from(mut serve: Command) -> Self {
        let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = Vec::new();
        let mut metrics = None;
        let address = loop {
            let line = log
                .next()
                .unwrap_or_else(|| panic!("the process does not serve: {lines:?}"))
                .unwrap();
            if let Some((_, address)) = line.split_once("metrics address=") {
                metrics = Some(address.to_owned());
            }
            if let Some((_, address)) = line.split_once("serving address=") {
                break address.split(' ').next().unwrap().to_owned();
            }
            lines.push(line);
        };
        // The thread drains the log, so that the process never blocks on a full pipe.
        thread::spawn(move || log.for_each(drop));
        Self {
            program: serve.get_program().into(),
            child,
            url: format!("http://{address}"),
            metrics,
        }
    }
}

impl Process {
    /// Starts `program serve` on a port that the operating system picks, and returns when it
    /// serves.
    ///
    /// # Panics
    /// Panics if the program does not start.
    #[must_use]
    pub fn start(program: &Path, data_dir: &Path) -> Self {
        serve(program, data_dir).into()
    }

    /// Returns the URL of the listener.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address and port of the metrics.
    ///
    /// # Panics
    /// Panics if the process serves no metrics.
    #[must_use]
    pub fn metrics(&self) -> &str {
        self.metrics.as_deref().unwrap()
    }

    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the processor time that the present threads of the process have taken.
    ///
    /// # Panics
    /// Panics on systems without `/proc`.
    #[must_use]
    pub fn processor_seconds(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            // A thread may have ended meanwhile.
            let times = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            times.split(' ').next()?.parse::<f64>().ok()
        });
        nanoseconds.sum::<f64>() / 1e9
    }

    /// Returns one line of `/proc/{pid}/status` in MB: `VmRSS` is the current memory, `VmHWM` the
    /// peak.
    ///
    /// # Panics
    /// Panics on systems without `/proc`, or if the line is missing.
    #[must_use]
    pub fn memory(&self, line: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find_map(|text| text.strip_prefix(&format!("{line}:")))
            .unwrap();
        let kilobytes: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
        kilobytes / 1000.0
    }

    /// Kills the process with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// Panics if the process cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM to the process.
    ///
    /// # Panics
    /// Panics if `kill` fails.
    pub fn signal(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
    }

    /// Sends SIGTERM, waits for the end and returns the exit code. A process that a signal ended
    /// has none.
    ///
    /// # Panics
    /// Panics if `kill` fails.
    #[must_use]
    pub fn terminate(mut self) -> Option<i32> {
        self.signal();
        self.child.wait().unwrap().code()
    }

    /// Terminates the process like [`Process::terminate`], while other tasks go on.
    ///
    /// # Panics
    /// Panics if `kill` fails, or if the process does not end within [`DEADLINE`].
    pub async fn shut_down(self) -> Option<i32> {
        let ended = tokio::task::spawn_blocking(|| self.terminate());
        let ended = tokio::time::timeout(DEADLINE, ended).await;
        ended.expect("the process ends").unwrap()
    }

    /// Connects new clients to the process.
    ///
    /// # Panics
    /// Panics if the process does not listen.
    pub async fn clients(&self) -> Clients {
        Clients::connect(&self.url).await.unwrap()
    }

    /// Runs a client command against this server.
    ///
    /// # Panics
    /// Panics if the program cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        command(&self.program)
            .env("ORDERLOG_SERVER", &self.url)
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs a client command and returns its standard output.
    ///
    /// # Panics
    /// Panics if the command fails.
    pub fn ask<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The call fails if the process ended earlier.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the command `program serve` on ports that the operating system picks. The caller can add
/// arguments.
#[must_use]
pub fn serve(program: &Path, data_dir: &Path) -> Command {
    let mut serve = command(program);
    serve
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("ORDERLOG_DRAIN_DELAY", "0")
        .args(["--metrics-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir);
    serve
}

/// Builds a command of the program without the `ORDERLOG_*` variables of the environment.
#[must_use]
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("ORDERLOG_") {
            command.env_remove(name);
        }
    }
    command.current_dir(env::temp_dir());
    command
}
