//! Trace spans of events on their way from the log to the search index.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use contract::orders::v1::RecordedEvent;
use telemetry::trace;

/// Bounds the events that wait until they are searchable. Beyond it, the oldest events get no
/// `index` span.
const MAX_WAITING_EVENTS: usize = 4096;

/// Maximum age of an event that gets spans: catching up on old events records none.
const MAX_EVENT_AGE: Duration = Duration::from_secs(60);

/// Records the spans of events from the log until they are searchable. Does nothing while trace
/// collection is off.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<VecDeque<Traced>>>);

#[derive(Debug)]
struct Traced {
    position: u64,
    traceparent: String,
    projected: SystemTime,
}

impl Traces {
    /// Records the `stream` span of events that arrived from the log.
    pub(crate) fn received(&self, events: &[RecordedEvent]) {
        for event in traced(events) {
            let recorded = recorded(event);
            let attributes = [trace::position(event.position)];
            let time = (recorded, SystemTime::now());
            trace::record("stream", &event.traceparent, time, &attributes);
        }
    }

    /// Records the `project` span, from `began` to now, of events that the documents now contain.
    /// Keeps these events for their `index` span.
    pub(crate) fn projected(&self, events: &[RecordedEvent], began: SystemTime) {
        for event in traced(events) {
            let attributes = [trace::position(event.position)];
            let now = SystemTime::now();
            trace::record("project", &event.traceparent, (began, now), &attributes);
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() == MAX_WAITING_EVENTS {
                waiting.pop_front();
            }
            waiting.push_back(Traced {
                position: event.position,
                traceparent: event.traceparent.clone(),
                projected: now,
            });
        }
    }

    /// Records the `index` span of each waiting event at or below `position`.
    pub(crate) fn searchable(&self, position: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = waiting.pop_front_if(|event| event.position <= position) {
            let attributes = [trace::position(event.position)];
            let time = (event.projected, SystemTime::now());
            trace::record("index", &event.traceparent, time, &attributes);
        }
    }
}

/// Returns the events that get spans: recent ones with a `traceparent`, and none while trace
/// collection is off. The age limit skips the history that a node replays when it fills its
/// documents.
fn traced(events: &[RecordedEvent]) -> impl Iterator<Item = &RecordedEvent> {
    let events = if trace::is_on() { events } else { &[] };
    let since = SystemTime::now() - MAX_EVENT_AGE;
    events
        .iter()
        .filter(move |event| !event.traceparent.is_empty() && recorded(event) > since)
}

fn recorded(event: &RecordedEvent) -> SystemTime {
    let recorded = event.recorded_at.unwrap_or_default();
    SystemTime::try_from(recorded).unwrap_or(SystemTime::UNIX_EPOCH)
}
