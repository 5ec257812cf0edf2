use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use crate::Clients;

/// A server that is a process of its own, to be killed, measured, and asked on the command line.
/// Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    child: Child,
    url: String,
    metrics: Option<String>,
}

impl From<Command> for Process {
    /// Starts a command that serves, and returns when it does.
    fn from(mut serve: Command) -> Self {
        let mut child = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let mut metrics = None;
        let address = loop {
            let line = log
                .next()
                .unwrap_or_else(|| panic!("it does not serve: {told:?}"))
                .unwrap();
            if let Some((_, address)) = line.split_once("metrics address=") {
                metrics = Some(address.to_owned());
            }
            if let Some((_, address)) = line.split_once("serving address=") {
                break address.split(' ').next().unwrap().to_owned();
            }
            told.push(line);
        };
        // What it logs is read, so that it never waits for that.
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
    /// Starts `program serve` on a port that the system picks, and returns when it serves.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(program: &Path, data_dir: &Path) -> Self {
        serve(program, data_dir).into()
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its metrics are: address and port.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn metrics(&self) -> &str {
        self.metrics.as_deref().unwrap()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A line of what Linux tells of its memory, in MB: `VmRSS` is what it has now, `VmHWM` the most
    /// it had.
    ///
    /// # Panics
    /// Where the system is another, or does not say.
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

    /// As `kill -9` does.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a SIGTERM.
    ///
    /// # Panics
    /// When it cannot be told.
    pub fn signal(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
    }

    /// As SIGTERM does; returns its exit code.
    ///
    /// # Panics
    /// When it cannot be told.
    #[must_use]
    pub fn terminate(mut self) -> Option<i32> {
        self.signal();
        self.child.wait().unwrap().code()
    }

    /// New clients of it.
    ///
    /// # Panics
    /// When it does not listen.
    pub async fn clients(&self) -> Clients {
        Clients::connect(&self.url).await.unwrap()
    }

    /// Runs a client command against it.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        command(&self.program)
            .env("ORDERLOG_SERVER", &self.url)
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs a client command that succeeds, and returns what it prints.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn ask<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `program serve` on ports that the system picks, to be told more.
#[must_use]
pub fn serve(program: &Path, data_dir: &Path) -> Command {
    let mut serve = command(program);
    serve
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(["--metrics-listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir);
    serve
}

/// A command line of the program, without the settings of whoever runs it.
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
