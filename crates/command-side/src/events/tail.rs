//! The newest events of the log in memory. The writer pushes a batch here before it replies, and
//! subscribers at the head read the batch from here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use event_log::{MAX_PAGE_BYTES, Position};
use tokio::sync::watch;

/// Limits the events in memory: 16 MiB. Subscribers read older events from the store.
const MAX_TAIL_BYTES: usize = 16 << 20;

/// Consecutive encoded events that one call pushed.
#[derive(Debug)]
struct Chunk {
    /// The position before the first event.
    after: Position,
    records: Vec<Bytes>,
}

impl Chunk {
    /// Returns the position of the last event, or `after` if the chunk is empty.
    fn last(&self) -> Position {
        self.after + self.records.len()
    }

    /// Removes the events at or below a position.
    fn skip(&mut self, upto: Position) {
        let known = upto.since(self.after) as usize;
        self.records.drain(..known);
        self.after = upto;
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
    head: watch::Sender<Position>,
}

impl Tail {
    /// Makes an empty tail of a log whose newest event is at `head`.
    pub(crate) fn new(head: Position) -> Self {
        Self {
            recent: Mutex::default(),
            head: watch::Sender::new(head),
        }
    }

    /// Returns the position of the newest event.
    pub(crate) fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// Returns a receiver that follows the position of the newest event.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    /// Adds committed events after the head, and skips the ones that the tail already holds.
    /// Returns false, and adds nothing, if events before `first` are missing.
    pub(crate) fn push(&self, first: Position, records: Vec<Bytes>) -> bool {
        let mut chunk = Chunk {
            after: first.previous(),
            records,
        };
        let dropped = {
            let mut recent = self.lock();
            let head = self.head();
            if chunk.after > head {
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
            while recent.bytes > MAX_TAIL_BYTES && recent.chunks.len() > 1 {
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
    /// They end early at [`MAX_PAGE_BYTES`], as a page of the log does.
    pub(crate) fn after(&self, position: Position, limit: usize) -> Option<Vec<Bytes>> {
        let mut chunks = Vec::new();
        {
            let recent = self.lock();
            let (oldest, newest) = recent.chunks.front().zip(recent.chunks.back())?;
            if position < oldest.after || position >= newest.last() {
                return None;
            }
            let start = recent
                .chunks
                .partition_point(|chunk| chunk.last() <= position);
            let mut count = 0;
            for chunk in recent.chunks.range(start..) {
                chunks.push(Arc::clone(chunk));
                count += chunk.last().since(position.max(chunk.after)) as usize;
                if count >= limit {
                    break;
                }
            }
        }
        let records = chunks.iter().flat_map(|chunk| {
            let seen = position.since(chunk.after) as usize;
            chunk.records.iter().skip(seen)
        });
        let mut bytes = 0;
        let page = records.take(limit).take_while(|record| {
            let is_first = bytes == 0;
            bytes += record.len();
            is_first || bytes <= MAX_PAGE_BYTES
        });
        Some(page.cloned().collect())
    }

    /// Returns the number of pushes whose events are in memory.
    #[cfg(test)]
    pub(crate) fn pushes(&self) -> usize {
        self.lock().chunks.len()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // No code panics half-way through a change under the lock, so the value is consistent.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(head: u64) -> Tail {
        Tail::new(head.into())
    }

    fn push(tail: &Tail, first: u64, records: Vec<Bytes>) -> bool {
        tail.push(first.into(), records)
    }

    fn after(tail: &Tail, position: u64, limit: usize) -> Option<Vec<Bytes>> {
        tail.after(position.into(), limit)
    }

    fn records(of: impl IntoIterator<Item = u64>) -> Vec<Bytes> {
        of.into_iter()
            .map(|position| position.to_string().into())
            .collect()
    }

    #[test]
    fn tail_returns_the_events_after_a_position_in_pages_of_any_size() {
        let tail = tail(4);
        assert_eq!(after(&tail, 4, 10), None, "the tail is empty");
        push(&tail, 5, records(5..7));
        push(&tail, 7, records(7..8));
        push(&tail, 8, records(8..12));
        assert_eq!(tail.head().get(), 11);
        assert_eq!(after(&tail, 11, 10), None, "no event follows the head");
        for position in 4..11 {
            for limit in 1..10 {
                let expected = records((position + 1..=11).take(limit));
                assert_eq!(
                    after(&tail, position, limit).unwrap(),
                    expected,
                    "{position} {limit}"
                );
            }
        }
        assert_eq!(after(&tail, 3, 10), None, "older than the tail");
    }

    #[test]
    fn g6_tail_rejects_events_after_a_gap() {
        let tail = tail(4);
        assert!(push(&tail, 5, records(5..7)));
        assert!(!push(&tail, 9, records(9..11)));
        assert_eq!(tail.head().get(), 6);
        assert_eq!(after(&tail, 4, 10), Some(records(5..7)));
        assert!(push(&tail, 7, records(7..9)));
        assert!(push(&tail, 9, records(9..11)));
        assert_eq!(after(&tail, 4, 10), Some(records(5..11)));
    }

    #[test]
    fn g6_tail_keeps_events_once_that_are_pushed_twice() {
        let tail = tail(0);
        assert!(push(&tail, 1, records(1..4)));
        assert!(push(&tail, 1, records(1..3)));
        assert_eq!(tail.head().get(), 3);
        assert!(push(&tail, 2, records(2..6)));
        assert_eq!(tail.head().get(), 5);
        assert_eq!(after(&tail, 0, 10), Some(records(1..6)));
    }

    #[test]
    fn g13_tail_returns_no_more_bytes_at_once_than_a_page() {
        let tail = tail(0);
        let (half, larger) = (MAX_PAGE_BYTES / 2, MAX_PAGE_BYTES + 1);
        let sizes = [larger, half, half, 1, larger];
        push(&tail, 1, sizes.map(|size| vec![7; size].into()).into());
        for (position, expected) in [(0, 1), (1, 2), (3, 1), (4, 1)] {
            let records = after(&tail, position, 10).unwrap();
            assert_eq!(records.len(), expected, "{position}");
        }
    }

    #[test]
    fn g11_tail_does_not_grow_with_the_log() {
        let tail = tail(0);
        let large = Bytes::from(vec![0; MAX_TAIL_BYTES / 4]);
        for position in 1..=20 {
            push(&tail, position, vec![large.clone()]);
        }
        assert!(tail.lock().bytes <= MAX_TAIL_BYTES);
        let kept = (0..20).filter(|position| after(&tail, *position, 1).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [16, 17, 18, 19]);
    }
}
