//! Tests of the notifications to a service manager such as systemd.

use std::{
    io::ErrorKind, net::TcpListener, os::unix::net::UnixDatagram, path::Path, process::Stdio,
};

use e2e::{Clients, Process};
use test_support::DEADLINE;

use crate::binary::serve;

/// The notification socket of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn new(socket: &Path) -> Self {
        let socket = UnixDatagram::bind(socket).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    /// Receives the next message and returns its lines.
    fn receive(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.0.recv(&mut message).unwrap();
        let message = str::from_utf8(&message[..length]).unwrap();
        message.lines().map(str::to_owned).collect()
    }

    fn assert_no_message(&self) {
        self.0.set_nonblocking(true).unwrap();
        let error = self.0.recv(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.0.set_nonblocking(false).unwrap();
    }
}

fn address_of(status: &str) -> &str {
    status.strip_prefix("STATUS=serving on ").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_is_notified_when_the_server_is_ready_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::new(&socket);
    let mut serve = serve(&folder.path().join("data"));
    serve.env("NOTIFY_SOCKET", &socket);
    let process = Process::from(serve);

    let ready = manager.receive();
    assert_eq!(ready[0], "READY=1");
    let url = format!("http://{}", address_of(&ready[1]));
    assert_eq!(url, process.url());
    let mut clients = Clients::connect(&url).await.unwrap();
    assert_eq!(clients.head().await, 0);
    manager.assert_no_message();

    assert_eq!(process.terminate(), Some(0));
    assert_eq!(manager.receive()[0], "STOPPING=1");
    manager.assert_no_message();
}

/// The store accepts connections and never answers.
#[test]
fn a_server_that_waits_for_its_store_does_not_report_ready() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::new(&socket);
    let store = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://someone@{}/orders", store.local_addr().unwrap());
    let mut serve = serve(&folder.path().join("data"));
    serve.args(["--database-url", &url]);
    serve.env("NOTIFY_SOCKET", &socket).stderr(Stdio::null());
    let mut child = serve.spawn().unwrap();

    let connection = store.accept().unwrap();
    manager.assert_no_message();
    drop((connection, store));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    manager.assert_no_message();
}
