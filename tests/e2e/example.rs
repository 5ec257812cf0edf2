//! Tests of the subscriber in `examples/` while the network breaks.

#[path = "../../examples/subscriber/follow.rs"]
mod follow;
mod history;
#[path = "../../examples/subscriber/position.rs"]
mod position;
#[path = "../../examples/subscriber/source.rs"]
mod source;
#[path = "../../examples/subscriber/warehouse.rs"]
mod warehouse;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use contract::orders::v1::GetHeadRequest;
use e2e::{Clients, Node, Server};
use follow::{Error, SILENCE, follow};
use server::settings::{Caller, Credentials, Jwt, Roles, Tls};
use source::{Source, Token};
use tempfile::TempDir;
use test_support::{Authority, DEADLINE, Issuer, Proxy, order, wait_until};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status, transport::Certificate};
use warehouse::Warehouse;

/// Creates orders and ships every second one. Calls `between` in each step, for example to break
/// the network.
async fn write(clients: &mut Clients, ids: std::ops::Range<u64>, between: impl Fn(u64)) {
    for id in ids {
        let name = format!("o-{id}");
        clients.create(&name).await;
        if id % 2 == 0 {
            clients.ship_order(order::ship(&name)).await.unwrap();
        }
        between(id);
    }
}

async fn wait_for_position(file: &Path, position: u64) {
    wait_until(
        format!("the warehouse is at position {position}"),
        async || {
            let mut warehouse = Warehouse::open(file).await.unwrap();
            warehouse.position().await.unwrap().position == position
        },
    )
    .await;
}

#[tokio::test]
async fn g6_a_subscriber_applies_each_event_once_while_the_network_breaks() {
    let server = Server::start().await;
    let address = server.url().replace("http://", "");
    let network = Proxy::to(&address).await;
    let through = Source::new(format!("http://{}", network.address()), None, None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.db");
    let mut clients = server.clients().await;

    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let writes = async {
        write(&mut clients, 0..50, |id| match id % 10 {
            3 => network.cut(),
            5 => network.mend(),
            _ => {}
        })
        .await;
        wait_for_position(&file, 75).await;
        // The connection stays open without traffic.
        network.darken();
        write(&mut clients, 50..60, |_| ()).await;
        network.mend();
        wait_for_position(&file, 90).await;
    };
    tokio::select! {
        () = writes => {}
        ended = follow(&through, &mut warehouse, Duration::from_millis(300)) => panic!("{ended:?}"),
    }
    // Another warehouse opens the same file.
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let writes = async {
        write(&mut clients, 60..70, |_| ()).await;
        wait_for_position(&file, 105).await;
    };
    tokio::select! {
        () = writes => {}
        ended = follow(&through, &mut warehouse, SILENCE) => panic!("{ended:?}"),
    }
    let expected: Vec<_> = (0..70)
        .filter(|id| id % 2 == 1)
        .map(|id| format!("o-{id}"))
        .collect();
    assert_eq!(to_pack(&file).await, expected);
}

/// Follows until the warehouse is at a position.
async fn follow_to(source: &Source, warehouse: &mut Warehouse, file: &Path, position: u64) {
    tokio::select! {
        () = wait_for_position(file, position) => {}
        ended = follow(source, warehouse, SILENCE) => panic!("{ended:?}"),
    }
}

async fn ended(source: &Source, warehouse: &mut Warehouse) -> Error {
    let ended = timeout(DEADLINE, follow(source, warehouse, SILENCE)).await;
    ended.expect("the subscriber ends").unwrap_err()
}

async fn to_pack(file: &Path) -> Vec<String> {
    let url = format!("sqlite:{}", file.display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    sqlx::query_scalar("SELECT order_id FROM to_pack ORDER BY rowid")
        .fetch_all(&pool)
        .await
        .unwrap()
}

async fn refusal(source: &Source, warehouse: &mut Warehouse) -> Status {
    match ended(source, warehouse).await {
        Error::Refused(status) => status,
        other => panic!("{other}"),
    }
}

/// A server with TLS that accepts JWTs.
struct Secured {
    server: Server,
    issuer: Issuer,
    folder: TempDir,
}

impl Secured {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, contents: String| -> PathBuf {
            let file = folder.path().join(name);
            fs::write(&file, contents).unwrap();
            file
        };
        let (authority, issuer) = (Authority::new(), Issuer::new("key-1"));
        write("ca", authority.pem());
        let (cert, key) = authority.certificate("localhost");
        let jwt = Jwt {
            keys: write("keys", issuer.keys().to_string()),
            issuer: Issuer::ISSUER.to_owned(),
            audience: Issuer::AUDIENCE.to_owned(),
            roles_claim: "roles".to_owned(),
        };
        let node = Node {
            roles: Roles::ALL,
            tls: Some(Tls {
                cert: write("cert", cert),
                key: write("key", key),
                client_ca: None,
            }),
            credentials: Some(Credentials {
                tokens: None,
                jwt: Some(jwt),
            }),
            ..Node::default()
        };
        Self {
            server: Server::of(node).await,
            issuer,
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn jwt(&self, role: &str, seconds: i64) -> String {
        self.issuer.sign(&Issuer::claims(&[role], seconds))
    }

    /// Replaces the token file with a new JWT.
    fn issue(&self, role: &str, seconds: i64) {
        fs::write(self.file("new"), self.jwt(role, seconds) + "\n").unwrap();
        fs::rename(self.file("new"), self.file("token")).unwrap();
    }

    fn source(&self, token: Option<Token>) -> Source {
        let authority = Certificate::from_pem(fs::read(self.file("ca")).unwrap());
        Source::new(self.server.url(), token, Some(authority)).unwrap()
    }

    async fn clients(&self, token: &str) -> Clients {
        let caller = Caller {
            ca: Some(self.file("ca")),
            ..Caller::default()
        };
        let connected = Clients::connect_as(&self.server.url(), &caller, token).await;
        connected.unwrap()
    }
}

#[tokio::test]
async fn a_subscriber_continues_when_its_expired_token_is_replaced() {
    let secured = Secured::start().await;
    let source = secured.source(Some(Token::File(secured.file("token"))));
    let file = secured.file("warehouse.db");
    let mut clients = secured.clients(&secured.jwt("command", 600)).await;
    let mut warehouse = Warehouse::open(&file).await.unwrap();
    let replaced = async {
        write(&mut clients, 1..2, |_| ()).await;
        // The server tolerates a clock difference of 30 s, so this JWT expires in 3 s.
        secured.issue("subscribe", -27);
        let expiring = fs::read_to_string(secured.file("token")).unwrap();
        wait_for_position(&file, 1).await;
        wait_until("the token has expired", async || {
            let mut clients = secured.clients(expiring.trim()).await;
            clients.get_head(GetHeadRequest {}).await.is_err()
        })
        .await;
        write(&mut clients, 3..4, |_| ()).await;
        secured.issue("query", 600);
        // The server rejects the retries with another reason.
        sleep(Duration::from_secs(2)).await;
        secured.issue("subscribe", 600);
        wait_for_position(&file, 2).await;
    };
    tokio::select! {
        () = replaced => {}
        ended = follow(&source, &mut warehouse, SILENCE) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn a_subscriber_with_a_fixed_token_stops_when_it_is_refused() {
    let secured = Secured::start().await;
    let mut warehouse = Warehouse::open(secured.file("warehouse.db")).await.unwrap();
    let here = |token: String| secured.source(Some(Token::Here(token)));
    for (source, code) in [
        (secured.source(None), Code::Unauthenticated),
        (here("wrong".into()), Code::Unauthenticated),
        (here(secured.jwt("query", 600)), Code::PermissionDenied),
        // This JWT expires in 1 s.
        (here(secured.jwt("subscribe", -29)), Code::Unauthenticated),
    ] {
        assert_eq!(refusal(&source, &mut warehouse).await.code(), code);
    }
}

#[tokio::test]
async fn a_subscriber_does_not_connect_to_a_server_of_another_authority() {
    let secured = Secured::start().await;
    let token = || Some(Token::Here("secret".into()));
    let other = Certificate::from_pem(Authority::new().pem());
    for authority in [Some(other), None] {
        let source = Source::new(secured.server.url(), token(), authority).unwrap();
        assert!(source.connect().await.is_err());
    }
    secured.source(token()).connect().await.unwrap();
}

#[test]
fn a_subscriber_sends_no_token_without_tls_to_another_machine() {
    let with_token = |url: &str| Source::new(url.into(), Some(Token::Here("secret".into())), None);
    for url in [
        "http://orders.example:50051",
        "http://127.0.0.1:50051@orders.example",
        "http://127.0.0.1.orders.example",
        "http://0.0.0.0:50051",
        "http://[2001:db8::1]:50051",
    ] {
        let why = with_token(url).err().expect(url).to_string();
        assert!(why.starts_with("a token is not sent in clear to"), "{why}");
        assert!(!why.contains("secret"));
        assert!(Source::new(url.into(), None, None).is_ok(), "{url}");
    }
    for url in [
        "http://localhost:1",
        "http://127.1.2.3:1",
        "http://[::1]:1",
        "https://orders.example",
    ] {
        assert!(with_token(url).is_ok(), "{url}");
    }
}
