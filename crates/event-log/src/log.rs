//! An open log: one appender, any number of readers, and the notifications between nodes.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    Batch, Error, InspectedEvent, InspectedRequest, Loaded, Needed, Notifications, Page, Point,
    Position,
};

/// An open log.
#[derive(Debug)]
pub struct Log {
    /// Appends the events of this node.
    pub appender: Box<dyn Appender>,
    /// Serves the reads of calls and of subscribers.
    pub reader: Arc<dyn Reader>,
    /// Reads the events that other nodes append. On Postgres, a pool of its own keeps other reads
    /// from delaying these; on SQLite, the follower is [`Log::reader`].
    pub follower: Arc<dyn Reader>,
    /// Notifies the other nodes of this node's appends, and receives their notifications.
    pub notifications: Notifications,
}

/// Appends to a log. A node has one appender.
#[async_trait]
pub trait Appender: fmt::Debug + Send + Sync {
    /// Sets the newest point that the node has seen. After a reconnect, the store must have it: every
    /// method fails with [`Error::Diverged`] until it does, so that no batch is built on another history.
    fn has_seen(&mut self, point: Point);

    /// Returns the position of the newest event, or [`Position::START`] if the log is empty.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn head(&mut self) -> Result<Position, Error>;

    /// Checks that the store accepts appends, with a commit that changes nothing. A read is not
    /// enough of a check: a store on a full disk still answers reads.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer or rejects the write; [`Error::Damaged`]
    /// when SQLite reports corruption.
    async fn probe(&mut self) -> Result<(), Error>;

    /// Loads the events of aggregates that are `needed`, and the recorded replies to `request_ids`.
    /// The newest event of an aggregate costs the same however many events the aggregate has.
    ///
    /// With `exclusively`, no other node appends before this appender's next [`Appender::append`]
    /// or [`Appender::load`], so that the loaded state stays the newest.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::TimedOut`]: the load took too long.
    /// - [`Error::Damaged`]: SQLite reports corruption.
    async fn load(
        &mut self,
        needed: &[Needed<'_>],
        request_ids: &[&str],
        exclusively: bool,
    ) -> Result<Loaded, Error>;

    /// Appends a batch in one transaction, and returns the point of the event before the batch's first
    /// one.
    ///
    /// The batch is durable when the call returns. Without events in the batch, the returned
    /// point has no meaning. An empty batch only ends an exclusive load. The future must run to
    /// completion: do not drop it.
    ///
    /// # Errors
    /// - [`Error::Conflict`]: the log already has a version or request id of the batch; nothing is
    ///   appended.
    /// - [`Error::TimedOut`]: the append took too long; nothing is appended.
    /// - Any other error: nothing is appended, or the outcome is unknown.
    async fn append(&mut self, batch: &Batch) -> Result<Point, Error>;

    /// Closes the appender's connection to the store.
    async fn close(self: Box<Self>);
}

/// Reads a log. Any number of readers work at the same time, while an appender writes.
#[async_trait]
pub trait Reader: fmt::Debug + Send + Sync {
    /// Returns the log's id, which was created together with the log.
    fn log_id(&self) -> &str;

    /// Returns the position of the newest event of any node, or [`Position::START`] if the log is
    /// empty.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn head(&self) -> Result<Position, Error>;

    /// Returns the point of the event at a position, or `None` if the log has no such event.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn point(&self, position: Position) -> Result<Option<Point>, Error>;

    /// Returns up to `limit` events, from the one after `after` through position `upto`. The page
    /// ends early at [`MAX_PAGE_BYTES`](crate::MAX_PAGE_BYTES), but has at least one event.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::Diverged`]: the log does not have the point `after`.
    /// - [`Error::Damaged`]: positions are missing, or SQLite reports corruption.
    /// - [`Error::UnknownSchema`]: an event has a schema version without an upcast.
    async fn page(&self, after: Point, upto: Position, limit: usize) -> Result<Page, Error>;

    /// Returns all events of one aggregate in version order, or no events if the aggregate is
    /// unknown.
    ///
    /// # Errors
    /// - [`Error::Store`]: the store does not answer.
    /// - [`Error::Damaged`]: SQLite reports corruption.
    /// - [`Error::UnknownSchema`]: an event has a schema version without an upcast.
    async fn history(&self, kind: i32, aggregate_id: &str) -> Result<Page, Error>;

    /// Returns up to `limit` stored events after position `after` through position `upto`, valid or
    /// not. Verification reads a damaged log with this method.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn inspect(
        &self,
        after: Position,
        upto: Position,
        limit: usize,
    ) -> Result<Vec<InspectedEvent>, Error>;

    /// Returns the recorded replies to these request ids, and nothing for an unknown id.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn requests(&self, ids: &[String]) -> Result<Vec<InspectedRequest>, Error>;

    /// Returns up to `limit` recorded replies to request ids after `after`, in the order of the
    /// ids.
    ///
    /// # Errors
    /// [`Error::Store`] when the store does not answer; [`Error::Damaged`] when SQLite reports
    /// corruption.
    async fn requests_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<InspectedRequest>, Error>;
}
