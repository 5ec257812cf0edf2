//! The `orderlog` binary.

fn main() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listen = std::env::var("ORDERLOG_LISTEN").unwrap_or("127.0.0.1:50051".into());
    let dir = std::env::var("ORDERLOG_DATA_DIR").unwrap_or("./data".into());
    runtime.block_on(async {
        let serve = server::serve::Serve::bind(server::serve::Settings {
            listen: listen.parse().unwrap(),
            data_dir: dir.into(),
            drain_timeout: std::time::Duration::from_secs(20),
        })
        .await
        .unwrap();
        serve
            .run(async {
                let _ = tokio::signal::ctrl_c().await;
            })
            .await
            .unwrap();
    });
}
