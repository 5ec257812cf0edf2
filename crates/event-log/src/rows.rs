//! Converts rows of either store to the types of the log.

use crate::{Aggregate, Answer, Answered, Encoder, Error, Inspected, Loaded, Page, Schema, Stored};

/// An event, or a request with aggregate type 0. The columns are aggregate type, request id,
/// aggregate id, version, position, event type, schema version, and the record or fingerprint.
pub(crate) type LoadedRow = (i32, String, String, i64, i64, String, i32, Vec<u8>);

/// Position, event type, schema version and record.
pub(crate) type RecordRow = (i64, String, i32, Vec<u8>);

/// Position, aggregate type, aggregate id, version, event type, schema version, record, and the
/// position of the aggregate's event of the version before.
pub(crate) type InspectedRow = (i64, i32, String, i64, String, i32, Vec<u8>, Option<i64>);

/// Request id, aggregate id, version, position, and whether the event at that position fits.
pub(crate) type AnswerRow = (String, String, i64, i64, bool);

impl Inspected {
    pub(crate) fn of(row: InspectedRow, schema: Schema) -> Self {
        let (position, kind, id, version, event_type, found, record, before) = row;
        let position = position.cast_unsigned();
        let record = schema.read(position, &event_type, found.cast_unsigned(), record);
        Self {
            position,
            aggregate: Aggregate { kind, id },
            version: version.cast_unsigned(),
            before: before.map(i64::cast_unsigned),
            record: record
                .map(|record| Encoder::with_capacity(1, record.len()).push(position, &record))
                .map_err(|error| error.to_string()),
        }
    }
}

impl From<AnswerRow> for Answer {
    fn from((request_id, aggregate_id, version, position, fits): AnswerRow) -> Self {
        Self {
            request_id,
            aggregate_id,
            version: version.cast_unsigned(),
            position: position.cast_unsigned(),
            fits,
        }
    }
}

impl Loaded {
    pub(crate) fn of(rows: Vec<LoadedRow>, schema: Schema) -> Result<Self, Error> {
        let mut loaded = Self::default();
        for (kind, request_id, aggregate_id, version, position, event_type, found, data) in rows {
            let (version, position) = (version.cast_unsigned(), position.cast_unsigned());
            if kind == 0 {
                let fingerprint = data;
                loaded.requests.push(Answered {
                    request_id,
                    fingerprint,
                    aggregate_id,
                    version,
                    position,
                });
            } else {
                let data = schema.read(position, &event_type, found.cast_unsigned(), data)?;
                let record = Encoder::with_capacity(1, data.len()).push(position, &data);
                let aggregate = Aggregate {
                    kind,
                    id: aggregate_id,
                };
                loaded.events.push(Stored {
                    aggregate,
                    version,
                    position,
                    record,
                });
            }
        }
        Ok(loaded)
    }
}

impl Page {
    pub(crate) fn of(rows: Vec<RecordRow>, schema: Schema) -> Result<Self, Error> {
        let first = rows.first().map_or(0, |row| row.0.cast_unsigned());
        let bytes = rows.iter().map(|row| row.3.len()).sum();
        let mut encoder = Encoder::with_capacity(rows.len(), bytes);
        let mut records = Vec::with_capacity(rows.len());
        for (position, event_type, found, record) in rows {
            let position = position.cast_unsigned();
            let record = schema.read(position, &event_type, found.cast_unsigned(), record)?;
            records.push(encoder.push(position, &record));
        }
        Ok(Self { first, records })
    }

    /// Converts the rows after position `after`, and fails if a position is missing.
    pub(crate) fn dense(after: u64, rows: Vec<RecordRow>, schema: Schema) -> Result<Self, Error> {
        if let Some((first, last)) = rows.first().zip(rows.last()) {
            check_dense(after, first.0, last.0, rows.len())?;
        }
        Self::of(rows, schema)
    }
}

/// Checks that `count` rows from `first` through `last` start right after `after`, without a gap.
pub(crate) fn check_dense(after: u64, first: i64, last: i64, count: usize) -> Result<(), Error> {
    if first.cast_unsigned() == after + 1 && last - first + 1 == count as i64 {
        Ok(())
    } else {
        Err(Error::Damaged(format!(
            "positions are missing after {after}"
        )))
    }
}
