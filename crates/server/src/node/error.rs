//! The reasons why a node does not start, or stops serving.

use std::{io, net::SocketAddr};

use read_model::{search, store};

use crate::settings;

/// A reason why a node does not start, or stops serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] settings::Error),
    /// The node cannot listen on the address.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The data folder is unusable, or another process owns it.
    #[error(transparent)]
    Folder(#[from] sqlite::Error),
    /// The node cannot open the log.
    #[error(transparent)]
    Log(#[from] event_log::Error),
    /// The node cannot open the documents.
    #[error(transparent)]
    Documents(#[from] store::Error),
    /// The node cannot open the search index.
    #[error(transparent)]
    Search(#[from] search::Error),
    /// The node has read models, but neither a log of its own nor another node to stream events
    /// from.
    #[error("there are no nodes to make the read models from")]
    NoSource,
    /// A thread cannot start, or ended with a panic.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The process cannot install its signal handlers.
    #[error("cannot wait for signals: {0}")]
    Signal(#[source] io::Error),
    /// A second signal came while the node waited for calls in flight.
    #[error("told to end again: calls in flight are cut off")]
    CutOff,
    /// The node cannot install the metrics recorder.
    #[error("the metrics cannot be served: {0}")]
    Metrics(#[source] telemetry::metrics::Error),
    /// The node cannot start the export of traces.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] telemetry::trace::Error),
    /// The reflection service rejects the contract's descriptors.
    #[error("the contract's descriptors are unusable: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}
