//! Provides a real Meilisearch: the server of `TEST_MEILISEARCH_URL` and `TEST_MEILISEARCH_KEY`, or
//! else one started from the `meilisearch` on the `PATH`.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Instant,
};

use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    DEADLINE,
    double::{Content, Double, Refusal},
    on_path,
};

/// The master key of the servers that this module starts.
const KEY: &str = "the-key-of-tests-only";

/// The data folder that Meilisearch creates inside its working folder.
const DATA: &str = "data.ms";

/// Serves until standard input closes. The pipe closes when the test process ends, whatever the
/// cause.
const SERVE: &str = r#"
    cd "$1"
    "$2" --no-analytics --http-addr "127.0.0.1:$3" --master-key "$4" >log 2>&1 &
    cat >/dev/null
    kill -9 $!
    wait
"#;

/// Returns the URL and key of a server that tests share.
///
/// # Panics
/// Panics if no Meilisearch is installed, or if it does not start.
#[must_use]
pub fn shared() -> (String, Option<String>) {
    static SHARED: OnceLock<Meilisearch> = OnceLock::new();
    if let Ok(url) = env::var("TEST_MEILISEARCH_URL") {
        return (url, env::var("TEST_MEILISEARCH_KEY").ok());
    }
    let server = SHARED.get_or_init(Meilisearch::start);
    (server.url(), Some(KEY.to_owned()))
}

/// A server for one test. Dropping this value kills the server, and so does the end of the test
/// process.
#[derive(Debug)]
pub struct Meilisearch {
    program: std::path::PathBuf,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

/// A server whose data a test can wipe, copy and restore: a real one or the double.
#[derive(Debug)]
pub struct Losable(Kind);

#[derive(Debug)]
enum Kind {
    Real(Meilisearch),
    Double(Double),
}

/// A copy of the data of a server.
#[derive(Debug)]
pub struct Kept(Copy);

#[derive(Debug)]
enum Copy {
    Real(TempDir),
    Double(Content),
}

impl Losable {
    /// Starts a real server.
    ///
    /// # Panics
    /// Panics if Meilisearch is not installed or does not start.
    #[must_use]
    pub fn real() -> Self {
        Self(Kind::Real(Meilisearch::start()))
    }

    /// Starts the double.
    #[must_use]
    pub fn double() -> Self {
        Self(Kind::Double(Double::start()))
    }

    /// Returns the address and port of the listener.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.0 {
            Kind::Real(server) => server.address(),
            Kind::Double(double) => double.address().to_owned(),
        }
    }

    /// Returns the URL of the listener.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the master key, which permits every call.
    #[must_use]
    pub fn key(&self) -> String {
        KEY.to_owned()
    }

    /// Calls the server and returns the status and the body of the answer.
    ///
    /// # Panics
    /// Panics if the server does not answer.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        call(&self.address(), method, path, body).unwrap()
    }

    /// Copies the data. A real server is down during the copy and restarts after it.
    ///
    /// # Panics
    /// Panics if the data cannot be copied, or if the server does not restart.
    pub fn keep(&mut self) -> Kept {
        Kept(match &mut self.0 {
            Kind::Real(server) => {
                let kept = tempfile::tempdir().unwrap();
                server.kill();
                copy(&server.folder().join(DATA), kept.path());
                server.start_again();
                Copy::Real(kept)
            }
            Kind::Double(double) => Copy::Double(double.content()),
        })
    }

    /// Replaces the data with an earlier copy.
    ///
    /// # Panics
    /// Panics if the copy is of the other kind of server.
    pub fn put_back(&mut self, kept: &Kept) {
        match (&mut self.0, &kept.0) {
            (Kind::Real(server), Copy::Real(kept)) => {
                server.kill();
                fs::remove_dir_all(server.folder().join(DATA)).unwrap();
                copy(&kept.path().join(DATA), server.folder());
                server.start_again();
            }
            (Kind::Double(double), Copy::Double(content)) => double.put_back(content.clone()),
            _ => panic!("of another server"),
        }
    }

    /// Makes the double refuse something from now on, or nothing.
    ///
    /// # Panics
    /// Panics if the server is a real one.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        match &self.0 {
            Kind::Real(_) => panic!("a real server refuses nothing on demand"),
            Kind::Double(double) => double.refuse(refusal),
        }
    }

    /// Deletes all data.
    ///
    /// # Panics
    /// Panics if the server does not restart.
    pub fn wipe(&mut self) {
        match &mut self.0 {
            Kind::Real(server) => server.wipe(),
            Kind::Double(double) => double.put_back(Content::default()),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

impl Meilisearch {
    /// Starts a server on an empty folder.
    ///
    /// # Panics
    /// Panics if Meilisearch is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let program = on_path("meilisearch").expect("meilisearch is on the path");
        // The operating system picks ephemeral ports from a higher range, so it does not assign
        // this port meanwhile.
        let port = (0..1000)
            .map(|_| 10_000 + (Uuid::now_v7().as_u128() % 10_000) as u16)
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let mut server = Self {
            program,
            folder: tempfile::tempdir().unwrap(),
            port,
            process: None,
        };
        server.start_again();
        server
    }

    /// Returns the URL of the listener.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Returns the address and port, as [`crate::Proxy::to`] takes them.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the master key, which permits every call.
    #[must_use]
    pub fn key(&self) -> String {
        KEY.to_owned()
    }

    /// Kills the server with SIGKILL and waits for its end.
    ///
    /// # Panics
    /// Panics if waiting for the process fails.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().unwrap();
        }
    }

    /// Starts a killed server on its data, and returns when it answers.
    ///
    /// # Panics
    /// Panics if the server does not answer within [`DEADLINE`].
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// Starts a killed server like [`Meilisearch::start_again`], with more environment variables.
    ///
    /// # Panics
    /// Panics if the server does not answer within [`DEADLINE`].
    pub fn start_again_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = Command::new("sh");
        command
            .args(["-c", SERVE, "sh"])
            .arg(self.folder.path())
            .arg(&self.program)
            .args([&self.port.to_string(), KEY])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped());
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + DEADLINE;
        while !self.answers() {
            assert!(Instant::now() < deadline, "Meilisearch does not start");
            thread::yield_now();
        }
    }

    /// Kills the server and restarts it without data.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub fn wipe(&mut self) {
        self.kill();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        self.start_again();
    }

    /// Returns the folder with the data. A test may copy it while the server is killed.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Calls the server and returns the status and the body of the answer.
    ///
    /// # Panics
    /// Panics if the server does not answer.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        call(&self.address(), method, path, body).unwrap()
    }

    fn answers(&self) -> bool {
        call(&self.address(), "GET", "/health", "").is_ok_and(|(status, _)| status == 200)
    }
}

fn call(address: &str, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.unwrap_or(0), body.to_owned()))
}

impl Drop for Meilisearch {
    fn drop(&mut self) {
        self.kill();
    }
}
