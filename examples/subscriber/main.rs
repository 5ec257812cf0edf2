//! A warehouse that follows the log: `cargo run --example subscriber [URL]`, until Ctrl-C.
//!
//! It keeps in `warehouse.db` which orders are to be packed, and tells when it has caught up. Stopped
//! and started again, it goes on where it was.

mod follow;
mod warehouse;

use std::{env, error::Error};

use follow::{SILENCE, follow};
use tonic::transport::Endpoint;
use warehouse::Warehouse;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1);
    let server = Endpoint::from_shared(url.unwrap_or("http://127.0.0.1:50051".into()))?;
    let mut warehouse = Warehouse::open("warehouse.db").await?;
    tokio::select! {
        ended = follow(&server, &mut warehouse, SILENCE) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
