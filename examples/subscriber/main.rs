//! A warehouse that follows the log: `cargo run --example subscriber [URL]`, until Ctrl-C.
//!
//! It keeps in `warehouse.db` which orders are to be packed, and tells when it has caught up. Stopped
//! and started again, it goes on where it was.
//!
//! With `https://`, it trusts whom the system does, or the authority in the file that `ORDERLOG_TLS_CA`
//! names. It shows the token in `ORDERLOG_TOKEN`, or in the file that `ORDERLOG_TOKEN_FILE` names, which
//! it reads for each stream: replace it before it is over, and the warehouse goes on.

mod follow;
mod source;
mod warehouse;

use std::{env, error::Error, fs};

use follow::{SILENCE, follow};
use source::{Source, Token};
use tonic::transport::Certificate;
use warehouse::Warehouse;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1);
    let url = url.unwrap_or("http://127.0.0.1:50051".into());
    let file = || env::var_os("ORDERLOG_TOKEN_FILE").map(|file| Token::File(file.into()));
    let token = env::var("ORDERLOG_TOKEN").ok().map(Token::Here);
    let authority = env::var_os("ORDERLOG_TLS_CA").map(fs::read).transpose()?;
    let authority = authority.map(Certificate::from_pem);
    let source = Source::new(url, token.or_else(file), authority)?;
    let mut warehouse = Warehouse::open("warehouse.db").await?;
    tokio::select! {
        ended = follow(&source, &mut warehouse, SILENCE) => ended?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}
