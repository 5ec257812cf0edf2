//! The binary as a process: started, killed, and asked on the command line.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
};

use testkit::Clients;

/// A server process. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    /// Starts it on a port that the system picks, and returns when it serves.
    pub(crate) fn start(data_dir: &Path) -> Self {
        let mut child = orderlog()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = Vec::new();
        let address = loop {
            let line = log
                .next()
                .unwrap_or_else(|| panic!("it does not serve: {told:?}"))
                .unwrap();
            if let Some((_, address)) = line.split_once("serving address=") {
                break address.split(' ').next().unwrap().to_owned();
            }
            told.push(line);
        };
        // What it logs is read, so that it never waits for that.
        thread::spawn(move || log.for_each(drop));
        Self {
            child,
            url: format!("http://{address}"),
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As SIGTERM does; returns its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    pub(crate) async fn clients(&self) -> Clients {
        Clients::connect(&self.url).await.unwrap()
    }

    /// Runs a client command against it.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        orderlog()
            .env("ORDERLOG_SERVER", &self.url)
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs a client command that succeeds, and returns what it prints.
    pub(crate) fn ask<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
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

/// The binary, without the settings of whoever runs the tests.
pub(crate) fn orderlog() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orderlog"));
    for name in ["LISTEN", "DATA_DIR", "DRAIN_TIMEOUT", "INSECURE", "SERVER"] {
        command.env_remove(format!("ORDERLOG_{name}"));
    }
    command.current_dir(std::env::temp_dir());
    command
}
