//! Converts rows of either store to the types of the log.

use bytes::Bytes;

use crate::{
    Aggregate, Encoder, Error, InspectedEvent, InspectedRequest, Loaded, Page, Position, Schema,
    StoredEvent, StoredRequest, Version,
};

/// An event, or a request with aggregate type 0. The columns are aggregate type, request id,
/// aggregate id, version, position, event type, schema version, and the record or fingerprint.
pub(crate) type LoadedRow = (i32, String, String, Version, Position, String, i32, Vec<u8>);

/// Position, event type, schema version and record.
pub(crate) type RecordRow = (Position, String, i32, Vec<u8>);

/// Position, aggregate type, aggregate id, version, event type, schema version, record, and the
/// position of the aggregate's event of the version before.
pub(crate) type InspectedEventRow = (
    Position,
    i32,
    String,
    Version,
    String,
    i32,
    Vec<u8>,
    Option<Position>,
);

/// Request id, aggregate id, version, position, and whether the event at that position fits.
pub(crate) type InspectedRequestRow = (String, String, Version, Position, bool);

impl InspectedEvent {
    pub(crate) fn of(row: InspectedEventRow, schema: Schema) -> Self {
        let (position, kind, id, version, event_type, found, record, previous) = row;
        let record = schema.read(position, &event_type, found.cast_unsigned(), record);
        Self {
            position,
            aggregate: Aggregate { kind, id },
            version,
            previous,
            record: encoded(position, record),
        }
    }
}

impl From<InspectedRequestRow> for InspectedRequest {
    fn from((id, aggregate_id, version, position, fits): InspectedRequestRow) -> Self {
        Self {
            id,
            aggregate_id,
            version,
            position,
            fits,
        }
    }
}

impl Loaded {
    pub(crate) fn of(rows: Vec<LoadedRow>, schema: Schema) -> Self {
        let mut loaded = Self::default();
        for (kind, request_id, aggregate_id, version, position, event_type, found, data) in rows {
            if kind == 0 {
                loaded.requests.push(StoredRequest {
                    id: request_id,
                    fingerprint: data,
                    aggregate_id,
                    version,
                    position,
                });
            } else {
                let data = schema.read(position, &event_type, found.cast_unsigned(), data);
                loaded.events.push(StoredEvent {
                    aggregate: Aggregate {
                        kind,
                        id: aggregate_id,
                    },
                    version,
                    position,
                    record: encoded(position, data),
                });
            }
        }
        loaded
    }
}

/// Adds its position to a record, or converts the error to its text.
fn encoded(position: Position, record: Result<Vec<u8>, Error>) -> Result<Bytes, String> {
    record
        .map(|record| Encoder::with_capacity(1, record.len()).push(position, &record))
        .map_err(|error| error.to_string())
}

impl Page {
    pub(crate) fn of(rows: Vec<RecordRow>, schema: Schema) -> Result<Self, Error> {
        let first = rows.first().map_or(Position::START, |row| row.0);
        let bytes = rows.iter().map(|row| row.3.len()).sum();
        let mut encoder = Encoder::with_capacity(rows.len(), bytes);
        let mut records = Vec::with_capacity(rows.len());
        for (position, event_type, found, record) in rows {
            let record = schema.read(position, &event_type, found.cast_unsigned(), record)?;
            records.push(encoder.push(position, &record));
        }
        Ok(Self { first, records })
    }

    /// Converts the rows after position `after`, and fails if a position is missing.
    pub(crate) fn dense(
        after: Position,
        rows: Vec<RecordRow>,
        schema: Schema,
    ) -> Result<Self, Error> {
        if let Some((first, last)) = rows.first().zip(rows.last()) {
            check_dense(after, first.0, last.0, rows.len())?;
        }
        Self::of(rows, schema)
    }
}

/// Checks that `count` rows from `first` through `last` start right after `after`, without a gap.
pub(crate) fn check_dense(
    after: Position,
    first: Position,
    last: Position,
    count: usize,
) -> Result<(), Error> {
    if first == after + 1 && last == after + count {
        Ok(())
    } else {
        Err(Error::Damaged(format!(
            "positions are missing after {after}"
        )))
    }
}
