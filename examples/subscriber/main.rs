//! A warehouse that follows the log: `cargo run --example subscriber [URL]`, until Ctrl-C.
//!
//! The warehouse keeps the orders to pack in `warehouse.db`, and reports when it has caught up.
//! After a restart, it resumes with the stored token. If the log no longer has the events that the
//! warehouse has seen, the program ends and says so. Remove `warehouse.db*` then: its orders result from
//! lost events too.
//!
//! With `https://`, the warehouse trusts the system's certificate authorities, or the one in the
//! file that `ORDERLOG_TLS_CA` names. The warehouse sends the token in `ORDERLOG_TOKEN`, or the one
//! in the file that `ORDERLOG_TOKEN_FILE` names. For each stream, the warehouse reads the token
//! file: replace the token before it expires, and the warehouse continues.

mod follow;
mod position;
mod source;
mod warehouse;

use std::{env, error::Error, fs, process::ExitCode};

use follow::{SILENCE, follow};
use source::{Source, Token};
use tonic::transport::Certificate;
use warehouse::Warehouse;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
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
