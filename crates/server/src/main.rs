//! The `orderlog` binary.

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listen = std::env::var("ORDERLOG_LISTEN").unwrap_or("127.0.0.1:50051".into());
    let dir = std::env::var("ORDERLOG_DATA_DIR").unwrap_or("./data".into());
    runtime.block_on(server::serve::run(listen.parse().unwrap(), dir.into())).unwrap();
}
