use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use contract::orders::v1::RecordedEvent;
use telemetry::trace;

/// Events that wait to be searchable at most; of more than that, the oldest have no span.
const MOST: usize = 4096;

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
            let recorded = event.recorded_at.unwrap_or_default();
            if let Ok(recorded) = SystemTime::try_from(recorded) {
                let attributes = [trace::position(event.position)];
                trace::record("stream", &event.traceparent, recorded, &attributes);
            }
        }
    }

    /// That they are in the documents.
    pub(crate) fn projected(&self, events: &[RecordedEvent], began: SystemTime) {
        for event in traced(events) {
            let attributes = [trace::position(event.position)];
            trace::record("project", &event.traceparent, began, &attributes);
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() == MOST {
                waiting.pop_front();
            }
            waiting.push_back(Traced {
                position: event.position,
                traceparent: event.traceparent.clone(),
                projected: SystemTime::now(),
            });
        }
    }

    /// That everything up to a position can be searched.
    pub(crate) fn searchable(&self, position: u64) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = waiting.pop_front_if(|event| event.position <= position) {
            let attributes = [trace::position(event.position)];
            trace::record("index", &event.traceparent, event.projected, &attributes);
        }
    }
}

fn traced(events: &[RecordedEvent]) -> impl Iterator<Item = &RecordedEvent> {
    let events = if trace::is_on() { events } else { &[] };
    events.iter().filter(|event| !event.traceparent.is_empty())
}
