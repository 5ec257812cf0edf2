//! Tests of several nodes on one Postgres, as clients see them.

use std::collections::BTreeSet;

use contract::orders::v1::{recorded_event::Payload, *};
use e2e::{Clients, Server};
use event_log::{Aggregate, Batch, Location, Log, NewEvent, Schema};
use prost::Message as _;
use sqlx::{Connection as _, PgConnection, postgres::PgListener};
use test_support::{DEADLINE, eventually, order, postgres, reason};
use tokio::{runtime::Handle, task::JoinSet, time::timeout};
use tonic::{Code, Streaming};

/// Starts two nodes and returns them with the URL of their database.
async fn nodes() -> ([Server; 2], String) {
    let database = postgres::database().await;
    // The nodes start together, so that both try to create the tables.
    let nodes = tokio::join!(Server::start_on(&database), Server::start_on(&database));
    let nodes: [Server; 2] = nodes.into();
    for node in &nodes {
        assert_eq!(node.clients().await.head().await, 0);
    }
    (nodes, database)
}

async fn subscribe(clients: &mut Clients, after_position: u64) -> Streaming<SubscribeResponse> {
    let request = SubscribeRequest {
        after_position,
        follow: true,
        ..SubscribeRequest::default()
    };
    clients
        .events
        .subscribe(request)
        .await
        .unwrap()
        .into_inner()
}

/// Reads a stream up to a position and returns its events.
async fn upto(stream: &mut Streaming<SubscribeResponse>, position: u64) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|last: &RecordedEvent| last.position < position)
    {
        let response = timeout(DEADLINE, stream.message()).await.unwrap();
        events.extend(response.unwrap().unwrap().events);
    }
    events
}

fn positions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g3_g6_subscribers_of_every_node_get_what_all_nodes_append_once_and_in_order() {
    let (nodes, _) = nodes().await;
    let mut streams = Vec::new();
    let mut calls = JoinSet::new();
    for (index, node) in nodes.iter().enumerate() {
        let mut clients = node.clients().await;
        streams.push(subscribe(&mut clients, 0).await);
        for number in 0..100 {
            let mut commands = clients.commands.clone();
            let create = order::create(&format!("o-{index}-{number}"), "ann");
            calls.spawn(async move { commands.create_order(create).await.unwrap().into_inner() });
        }
    }
    let replies = calls.join_all().await;
    let told: BTreeSet<_> = replies.iter().map(|reply| reply.position).collect();
    assert_eq!(told, (1..=200).collect(), "dense, and each told once");
    let mut logs = Vec::new();
    for stream in &mut streams {
        logs.push(upto(stream, 200).await);
    }
    assert_eq!(positions(&logs[0]), (1..=200).collect::<Vec<_>>());
    assert_eq!(logs[0], logs[1]);
    for reply in replies {
        let event = &logs[0][reply.position as usize - 1];
        assert_eq!(event.aggregate_id, reply.order_id);
    }
}

/// Follows the log over connections that end after a few responses, and changes the node each time.
/// Returns the positions of all events.
async fn follow_restlessly(urls: Vec<String>, first: usize, upto: u64) -> Vec<u64> {
    let mut given: Vec<u64> = Vec::new();
    let mut connections = first;
    while given.last().is_none_or(|last| *last < upto) {
        let url = &urls[connections % urls.len()];
        let mut clients = Clients::connect(url).await.unwrap();
        let after = given.last().copied().unwrap_or(0);
        let mut stream = subscribe(&mut clients, after).await;
        for _ in 0..=connections % 3 {
            let response = timeout(DEADLINE, stream.message()).await.unwrap();
            let events = response.unwrap().unwrap().events;
            given.extend(events.iter().map(|event| event.position));
            if given.last() == Some(&upto) {
                break;
            }
        }
        connections += 1;
    }
    given
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postgres"]
async fn g3_g6_many_writers_and_restless_subscribers_on_four_nodes_miss_nothing() {
    const WRITERS: usize = 32;
    const EACH: usize = 25;
    let database = postgres::database().await;
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(Server::start_on(&database).await);
    }
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let all = (WRITERS * EACH) as u64;
    let mut subscribers = JoinSet::new();
    for index in 0..8 {
        subscribers.spawn(follow_restlessly(urls.clone(), index, all));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let url = urls[writer % urls.len()].clone();
        writers.spawn(async move {
            let mut commands = Clients::connect(&url).await.unwrap().commands;
            for _ in 0..EACH {
                let create = order::create("", &format!("customer-{writer}"));
                commands.create_order(create).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    for given in subscribers.join_all().await {
        assert_eq!(given, (1..=all).collect::<Vec<_>>());
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g3_an_append_that_is_held_open_is_neither_skipped_nor_overtaken() {
    let (nodes, database) = nodes().await;
    let mut holder = PgConnection::connect(&database).await.unwrap();
    // The insert of this order waits for the lock of the holder inside its transaction.
    sqlx::raw_sql(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.aggregate_id = 'held' THEN PERFORM pg_advisory_xact_lock(7); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION wait();
        SELECT pg_advisory_lock(7)",
    )
    .execute(&mut holder)
    .await
    .unwrap();
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    let mut streams = [
        subscribe(&mut first, 0).await,
        subscribe(&mut second, 0).await,
    ];
    let mut commands = first.commands.clone();
    let held = tokio::spawn(async move {
        let held = commands.create_order(order::create("held", "ann")).await;
        held.unwrap().into_inner().position
    });
    eventually("the append waits", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        )
        .fetch_one(&mut holder)
        .await
        .unwrap();
        (waiting > 0).then_some(())
    })
    .await;
    let mut commands = second.commands.clone();
    let other = tokio::spawn(async move {
        let other = commands.create_order(order::create("other", "ann")).await;
        other.unwrap().into_inner().position
    });
    eventually("the other one has begun", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND wait_event <> 'advisory'",
        )
        .fetch_one(&mut holder)
        .await
        .unwrap();
        (waiting > 0).then_some(())
    })
    .await;
    assert_eq!(second.head().await, 0, "nobody sees a later position first");
    sqlx::raw_sql("SELECT pg_advisory_unlock(7)")
        .execute(&mut holder)
        .await
        .unwrap();
    assert_eq!((held.await.unwrap(), other.await.unwrap()), (1, 2));
    for stream in &mut streams {
        let ids: Vec<_> = upto(stream, 2)
            .await
            .into_iter()
            .map(|event| event.aggregate_id)
            .collect();
        assert_eq!(ids, ["held", "other"]);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g4_g5_nodes_decide_on_what_the_others_have_appended() {
    let (nodes, _) = nodes().await;
    let mut creates = JoinSet::new();
    let mut repeats = JoinSet::new();
    let repeated = order::create("", "ann");
    for node in &nodes {
        let clients = node.clients().await;
        for _ in 0..20 {
            let (mut commands, create) = (clients.commands.clone(), order::create("o", "ann"));
            creates.spawn(async move { commands.create_order(create).await });
            let (mut commands, repeated) = (clients.commands.clone(), repeated.clone());
            repeats.spawn(async move { commands.create_order(repeated).await.unwrap() });
        }
    }
    let created = creates.join_all().await;
    let refused: Vec<_> = created.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 39, "one of them makes it");
    for refused in refused {
        assert_eq!(reason(&refused), "ORDER_ALREADY_EXISTS");
    }
    let replies = repeats.join_all().await;
    let replies: Vec<_> = replies
        .into_iter()
        .map(tonic::Response::into_inner)
        .collect();
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    assert_eq!(first.head().await, 2);
    let expecting = |expected_version| CancelOrderRequest {
        expected_version: Some(expected_version),
        ..order::cancel("o")
    };
    second.commands.cancel_order(expecting(1)).await.unwrap();
    let late = first.commands.cancel_order(expecting(1)).await.unwrap_err();
    assert_eq!(reason(&late), "VERSION_MISMATCH");
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g8_a_position_of_one_node_holds_on_another() {
    let (nodes, _) = nodes().await;
    let [mut first, mut second] = [nodes[0].clients().await, nodes[1].clients().await];
    for number in 0..20 {
        let create = order::create(&format!("o-{number}"), "ann");
        let created = first
            .commands
            .create_order(create)
            .await
            .unwrap()
            .into_inner();
        let mut stream = subscribe(&mut second, created.position).await;
        let get = GetOrderRequest {
            order_id: created.order_id,
            min_position: created.position,
            ..GetOrderRequest::default()
        };
        second.queries.get_order(get).await.unwrap();
        let next = second.commands.create_order(order::create("", "bob")).await;
        let next = next.unwrap().into_inner().position;
        assert_eq!(positions(&upto(&mut stream, next).await), [next]);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g1_g5_what_becomes_of_a_command_when_connections_are_killed_is_found_out_by_sending_it_again()
 {
    let (nodes, database) = nodes().await;
    let clients = nodes[0].clients().await;
    let creates: Vec<_> = (0..200).map(|_| order::create("", "ann")).collect();
    let mut calls = JoinSet::new();
    for create in creates.clone() {
        let mut commands = clients.commands.clone();
        calls.spawn(async move {
            loop {
                // The client retries one command at a time.
                match commands.create_order(create.clone()).await {
                    Ok(reply) => return (create.request_id, reply.into_inner()),
                    Err(status) => {
                        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                        assert_eq!(reason(&status), "STORE_UNAVAILABLE");
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let mut killer = PgConnection::connect(&database).await.unwrap();
    let mut told = Vec::new();
    while let Some(reply) = calls.join_next().await {
        told.push(reply.unwrap());
        if told.len() % 20 == 0 && told.len() < 200 {
            postgres::terminate_others(&mut killer).await;
        }
    }
    let mut second = nodes[1].clients().await;
    eventually("the other node has recovered too", async || {
        let head = second.events.get_head(GetHeadRequest {}).await;
        head.inspect_err(|status| assert_eq!(status.code(), Code::Unavailable))
            .ok()
    })
    .await;
    let events = upto(&mut subscribe(&mut second, 0).await, 200).await;
    assert_eq!(
        positions(&events),
        (1..=200).collect::<Vec<_>>(),
        "each once"
    );
    for (request_id, reply) in told {
        let event = &events[reply.position as usize - 1];
        assert_eq!(
            (&event.request_id, &event.aggregate_id),
            (&request_id, &reply.order_id)
        );
    }
}

/// Opens the log directly, without a node.
async fn open(database: &str) -> Result<Log, event_log::Error> {
    let location = Location::Database(database.parse().unwrap());
    let schema = Schema {
        current: 1,
        upcast: |_, _, _| None,
    };
    event_log::open(&location, schema, &Handle::current()).await
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn g6_a_subscription_that_does_not_follow_ends_at_the_head_of_the_log_and_not_of_its_node() {
    let (nodes, database) = nodes().await;
    let mut log = open(&database).await.unwrap();
    let mut clients = nodes[0].clients().await;
    for version in 1..=20_u64 {
        let renamed = RecordedEvent {
            aggregate_type: AggregateType::Product.into(),
            aggregate_id: "tea".into(),
            version,
            payload: Some(Payload::ProductRenamed(ProductRenamed::default())),
            ..RecordedEvent::default()
        };
        let event = NewEvent {
            aggregate: Aggregate {
                kind: AggregateType::Product.into(),
                id: "tea".into(),
            },
            version: version.into(),
            event_type: "ProductRenamed".into(),
            schema_version: 1,
            record: renamed.encode_to_vec(),
        };
        let batch = Batch {
            events: vec![event],
            requests: Vec::new(),
        };
        // No notification announces this append, and the next poll of the nodes is up to 250 ms
        // away.
        let position = log.appender.append(&batch).await.unwrap().get();
        let request = SubscribeRequest {
            after_position: position - 1,
            ..SubscribeRequest::default()
        };
        let stream = clients.events.subscribe(request).await.unwrap();
        let events = upto(&mut stream.into_inner(), position).await;
        assert_eq!(positions(&events), [position]);
    }
}

#[tokio::test]
#[ignore = "needs Postgres"]
async fn nodes_tell_each_other() {
    let (nodes, database) = nodes().await;
    let mut listener = PgListener::connect(&database).await.unwrap();
    listener.listen("orderlog").await.unwrap();
    let mut commands = nodes[0].clients().await.commands;
    commands
        .create_order(order::create("", "ann"))
        .await
        .unwrap();
    timeout(DEADLINE, listener.recv()).await.unwrap().unwrap();
}
