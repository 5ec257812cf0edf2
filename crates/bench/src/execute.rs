//! Measures commands per second through `ExecuteCommands`, on one stream and on four.

use std::time::Instant;

use crate::{fill, program::Program};

pub(crate) async fn run(commands: u64) {
    for streams in [1, 4] {
        let program = Program::start();
        let each = commands / streams;
        let started = Instant::now();
        let mut tasks = Vec::new();
        for stream in 0..streams {
            let client = program.process().clients().await.commands;
            tasks.push(tokio::spawn(async move {
                fill::orders(&client, stream * each, (stream + 1) * each).await;
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let rate = commands as f64 / started.elapsed().as_secs_f64();
        println!("ExecuteCommands on {streams} stream(s): {rate:.0} commands a second");
        let started = Instant::now();
        fill::projected(program.process()).await;
        let seconds = started.elapsed().as_secs_f64();
        println!("  and {seconds:.1} s later every one can be found");
    }
}
