//! The newest events of the log in memory. The writer pushes a batch here before it replies, and
//! subscribers at the head read the batch from here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

/// Limits the events in memory: 16 MiB. Subscribers read older events from the store.
const MOST_BYTES: usize = 16 << 20;

/// Consecutive encoded events that one call pushed.
#[derive(Debug)]
struct Chunk {
    first: u64,
    records: Vec<Bytes>,
}

impl Chunk {
    /// Returns the position of the last event, or `first - 1` if the chunk is empty.
    fn last(&self) -> u64 {
        self.first + self.records.len() as u64 - 1
    }

    /// Removes the events at or below a position.
    fn skip(&mut self, upto: u64) {
        let known = (upto + 1 - self.first) as usize;
        self.records.drain(..known);
        self.first = upto + 1;
    }

    fn bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }
}

#[derive(Debug, Default)]
struct Recent {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

/// The newest events, and the position of the head.
#[derive(Debug)]
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    head: watch::Sender<u64>,
}

impl Tail {
    /// Makes an empty tail of a log whose newest event is at `head`.
    pub(crate) fn new(head: u64) -> Self {
        Self {
            recent: Mutex::default(),
            head: watch::Sender::new(head),
        }
    }

    /// Returns the position of the newest event.
    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Returns a receiver that follows the position of the newest event.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Adds committed events after the head, and skips the ones that the tail already holds.
    /// Returns false, and adds nothing, if events before `first` are missing.
    pub(crate) fn push(&self, first: u64, records: Vec<Bytes>) -> bool {
        let mut chunk = Chunk { first, records };
        let dropped = {
            let mut recent = self.lock();
            let head = self.head();
            if first > head + 1 {
                return false;
            }
            if chunk.last() <= head {
                return true;
            }
            // The writer and the follow task may push the same events.
            chunk.skip(head);
            let last = chunk.last();
            recent.bytes += chunk.bytes();
            recent.chunks.push_back(Arc::new(chunk));
            let mut dropped = Vec::new();
            while recent.bytes > MOST_BYTES && recent.chunks.len() > 1 {
                if let Some(oldest) = recent.chunks.pop_front() {
                    recent.bytes -= oldest.bytes();
                    dropped.push(oldest);
                }
            }
            self.head.send_replace(last);
            dropped
        };
        // Frees the memory after the lock is released, so that no task waits for it.
        drop(dropped);
        true
    }

    /// Returns up to `limit` events after a position, or `None` if the tail lacks the next one.
    pub(crate) fn after(&self, position: u64, limit: usize) -> Option<Vec<Bytes>> {
        let mut chunks = Vec::new();
        {
            let recent = self.lock();
            let (oldest, newest) = recent.chunks.front().zip(recent.chunks.back())?;
            if position + 1 < oldest.first || position >= newest.last() {
                return None;
            }
            let start = recent
                .chunks
                .partition_point(|chunk| chunk.last() <= position);
            let mut count = 0;
            for chunk in recent.chunks.range(start..) {
                chunks.push(Arc::clone(chunk));
                count += (chunk.last() - position.max(chunk.first - 1)) as usize;
                if count >= limit {
                    break;
                }
            }
        }
        let mut records = Vec::new();
        for chunk in chunks {
            let seen = (position + 1).saturating_sub(chunk.first) as usize;
            let wanted = limit - records.len();
            records.extend(chunk.records.iter().skip(seen).take(wanted).cloned());
        }
        Some(records)
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // No code panics half-way through a change under the lock, so the value is consistent.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(of: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
        of.into_iter()
            .map(|position| position.to_string().into())
            .collect()
    }

    #[test]
    fn everything_after_a_position_is_there_in_pieces_of_any_size() {
        let tail = Tail::new(4);
        assert_eq!(tail.after(4, 10), None, "nothing was pushed yet");
        tail.push(5, records(5..7));
        tail.push(7, records(7..8));
        tail.push(8, records(8..12));
        assert_eq!(tail.head(), 11);
        assert_eq!(tail.after(11, 10), None, "nothing comes behind the head");
        for position in 4..11 {
            for limit in 1..10 {
                let expected = records((position + 1..=11).take(limit));
                assert_eq!(
                    tail.after(position, limit).unwrap(),
                    expected,
                    "{position} {limit}"
                );
            }
        }
        assert_eq!(tail.after(3, 10), None, "older than what is here");
    }

    #[test]
    fn g6_what_lies_between_has_to_come_first() {
        let tail = Tail::new(4);
        assert!(tail.push(5, records(5..7)));
        assert!(!tail.push(9, records(9..11)));
        assert_eq!(tail.head(), 6);
        assert_eq!(tail.after(4, 10), Some(records(5..7)));
        assert!(tail.push(7, records(7..9)));
        assert!(tail.push(9, records(9..11)));
        assert_eq!(tail.after(4, 10), Some(records(5..11)));
    }

    #[test]
    fn g6_what_two_bring_is_here_once() {
        let tail = Tail::new(0);
        assert!(tail.push(1, records(1..4)));
        assert!(tail.push(1, records(1..3)));
        assert_eq!(tail.head(), 3);
        assert!(tail.push(2, records(2..6)));
        assert_eq!(tail.head(), 5);
        assert_eq!(tail.after(0, 10), Some(records(1..6)));
    }

    #[test]
    fn g11_it_does_not_grow_with_the_log() {
        let tail = Tail::new(0);
        let large = Bytes::from(vec![0; MOST_BYTES / 4]);
        for position in 1..=20 {
            tail.push(position, vec![large.clone()]);
        }
        assert!(tail.lock().bytes <= MOST_BYTES);
        assert_eq!(tail.after(10, 100), None);
        assert_eq!(tail.after(16, 100).unwrap().len(), 4);
    }
}
