use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use contract::orders::v1::RecordedEvent;
use telemetry::trace;

/// Events that wait to be searchable at most; of more than that, the oldest have no span.
const MOST: usize = 4096;

/// How old an event may be that has spans.
const RECENT: Duration = Duration::from_secs(60);

/// The traces of events, from when they come until they can be searched. Nothing, while nobody
/// collects traces.
#[derive(Debug, Clone, Default)]
pub struct Traces(Arc<Mutex<VecDeque<Traced>>>);

#[derive(Debug)]
struct Traced {
    position: u64,
    traceparent: String,
    projected: SystemTime,
}

impl Traces {
    /// That these have come from the log.
    pub(crate) fn received(&self, events: &[RecordedEvent]) {
        for event in traced(events) {
            let recorded = recorded(event);
            let attributes = [trace::position(event.position)];
            let time = (recorded, SystemTime::now());
            trace::record("stream", &event.traceparent, time, &attributes);
        }
    }

    /// That they are in the documents.
    pub(crate) fn projected(&self, events: &[RecordedEvent], began: SystemTime) {
        for event in traced(events) {
            let attributes = [trace::position(event.position)];
            let now = SystemTime::now();
            trace::record("project", &event.traceparent, (began, now), &attributes);
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() == MOST {
                waiting.pop_front();
            }
            waiting.push_back(Traced {
                position: event.position,
                traceparent: event.traceparent.clone(),
                projected: now,
            });
        }
    }

    /// That everything up to a position can be searched.
    pub(crate) fn searchable(&self, position: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = waiting.pop_front_if(|event| event.position <= position) {
            let attributes = [trace::position(event.position)];
            let time = (event.projected, SystemTime::now());
            trace::record("index", &event.traceparent, time, &attributes);
        }
    }
}

/// Those that somebody may be looking at: not the whole history, each time that a node fills itself.
fn traced(events: &[RecordedEvent]) -> impl Iterator<Item = &RecordedEvent> {
    let events = if trace::is_on() { events } else { &[] };
    let since = SystemTime::now() - RECENT;
    events
        .iter()
        .filter(move |event| !event.traceparent.is_empty() && recorded(event) > since)
}

fn recorded(event: &RecordedEvent) -> SystemTime {
    let recorded = event.recorded_at.unwrap_or_default();
    SystemTime::try_from(recorded).unwrap_or(SystemTime::UNIX_EPOCH)
}
