//! The newest events of the log in memory. The writer pushes a batch here before it replies, and
//! subscribers at the head read the batch from here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use event_log::{MAX_PAGE_BYTES, Point, Position};
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

/// Returns whether the newest event that both have is the same one: the tail, with its `head`, and a
/// chunk after the point `before`.
fn is_of_one_history(recent: &Recent, head: Point, before: Point, chunk: &Chunk) -> bool {
    let shared = chunk.last().min(head.position);
    let pushed = match shared.since(before.position).checked_sub(1) {
        None => Some(before),
        Some(index) => chunk
            .records
            .get(index as usize)
            .map(|record| Point::of(shared, record)),
    };
    let known = match shared == head.position {
        true => Some(head),
        false => recent.point(shared),
    };
    // An older event than those in memory cannot be compared, and is not added either.
    known.is_none() || known == pushed
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

impl Recent {
    /// Returns the point at a position, or `None` if the events here lack it.
    fn point(&self, position: Position) -> Option<Point> {
        let index = self.chunks.partition_point(|chunk| chunk.last() < position);
        let chunk = self.chunks.get(index)?;
        let before = position.since(chunk.after).checked_sub(1)?;
        let record = chunk.records.get(before as usize)?;
        Some(Point::of(position, record))
    }
}

/// The log went back: events that the node has seen are no longer in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Divergence {
    /// The newest position that the node had seen.
    pub(crate) seen: Position,
    /// The newest position that both histories share. `None` if it is before the events in memory.
    pub(crate) shared: Option<Position>,
}

/// The newest events, and the point of the head.
#[derive(Debug)]
pub(crate) struct Tail {
    recent: Mutex<Recent>,
    head: watch::Sender<Point>,
    /// The last divergence. Each one ends the streams that began before.
    divergence: watch::Sender<Option<Divergence>>,
}

impl Tail {
    /// Makes an empty tail of a log with this newest point.
    pub(crate) fn new(head: Point) -> Self {
        Self {
            recent: Mutex::default(),
            head: watch::Sender::new(head),
            divergence: watch::Sender::new(None),
        }
    }

    /// Returns the position of the newest event.
    pub(crate) fn head(&self) -> Position {
        self.newest().position
    }

    /// Returns the newest point.
    pub(crate) fn newest(&self) -> Point {
        *self.head.borrow()
    }

    /// Returns a receiver that follows the newest point.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Point> {
        self.head.subscribe()
    }

    /// Returns a receiver that follows the divergences from now on.
    pub(crate) fn divergences(&self) -> watch::Receiver<Option<Divergence>> {
        self.divergence.subscribe()
    }

    /// Returns the point at a position, or `None` if it is not in memory.
    pub(crate) fn point(&self, position: Position) -> Option<Point> {
        let head = self.newest();
        match position {
            Position::START => Some(Point::START),
            _ if position == head.position => Some(head),
            _ => self.lock().point(position),
        }
    }

    /// Returns the position before the first event in memory, or `None` without events.
    pub(crate) fn start(&self) -> Option<Position> {
        self.lock().chunks.front().map(|chunk| chunk.after)
    }

    /// Adds committed events after the head, and skips the ones that the tail already holds.
    /// `before` is the point before the first one.
    ///
    /// Returns false, and adds nothing, if events are missing before the first one, or if the events
    /// may belong to another history than the tail.
    pub(crate) fn push(&self, before: Point, records: Vec<Bytes>) -> bool {
        let mut chunk = Chunk {
            after: before.position,
            records,
        };
        let dropped = {
            let mut recent = self.lock();
            let head = self.newest();
            if chunk.after > head.position || !is_of_one_history(&recent, head, before, &chunk) {
                return false;
            }
            if chunk.last() <= head.position {
                return true;
            }
            // The writer and the follow task may push the same events.
            chunk.skip(head.position);
            let last = chunk.last();
            let newest = chunk.records.last().map(|record| Point::of(last, record));
            recent.bytes += chunk.bytes();
            recent.chunks.push_back(Arc::new(chunk));
            let mut dropped = Vec::new();
            while recent.bytes > MAX_TAIL_BYTES && recent.chunks.len() > 1 {
                if let Some(oldest) = recent.chunks.pop_front() {
                    recent.bytes -= oldest.bytes();
                    dropped.push(oldest);
                }
            }
            if let Some(newest) = newest {
                self.head.send_replace(newest);
            }
            dropped
        };
        // Frees the memory after the lock is released, so that no task waits for it.
        drop(dropped);
        true
    }

    /// Drops all events after a divergence, ends the streams, and goes on at the log's newest point.
    pub(crate) fn restart(&self, head: Point, divergence: Divergence) {
        // First, so that no stream takes an event of the new history for the next one of the old.
        self.divergence.send_replace(Some(divergence));
        let mut recent = self.lock();
        *recent = Recent::default();
        self.head.send_replace(head);
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
    use contract::orders::v1::RecordedEvent;
    use prost::Message as _;
    use uuid::Uuid;

    use super::*;

    fn tail(head: u64) -> Tail {
        Tail::new(Point::of(head.into(), b""))
    }

    fn push(tail: &Tail, first: u64, records: Vec<Bytes>) -> bool {
        tail.push(Point::of(Position::from(first).previous(), b""), records)
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

    /// Encodes an event with this id.
    fn record(event_id: Uuid) -> Bytes {
        let event = RecordedEvent {
            event_id: event_id.to_string(),
            ..RecordedEvent::default()
        };
        event.encode_to_vec().into()
    }

    #[test]
    fn g12_tail_takes_events_of_its_own_history_only() {
        let ids: Vec<_> = (0..6).map(|_| Uuid::now_v7()).collect();
        let at = |position: u64, id: usize| Point {
            position: position.into(),
            event_id: ids[id],
        };
        let records = |of: &[usize]| of.iter().map(|id| record(ids[*id])).collect();
        let tail = Tail::new(at(4, 0));
        assert!(!tail.push(at(4, 5), records(&[1])), "another event at 4");
        let unknown = Point::of(4.into(), b"");
        assert!(!tail.push(unknown, records(&[1])), "an unknown event at 4");
        assert!(tail.push(at(4, 0), records(&[1, 2])));
        assert!(tail.push(at(4, 0), records(&[1])), "known already");
        assert!(!tail.push(at(4, 0), records(&[3])), "another event at 5");
        assert!(!tail.push(at(4, 0), records(&[1, 3, 4])), "at 6");
        assert!(!tail.push(at(5, 3), Vec::new()), "at 5");
        assert_eq!(tail.newest(), at(6, 2));
        assert_eq!(
            [4, 5, 6].map(|it| tail.point(it.into())),
            [None, Some(at(5, 1)), Some(at(6, 2))]
        );
        assert!(tail.push(at(5, 1), records(&[2, 3])));
        assert_eq!(tail.newest(), at(7, 3));
    }

    #[test]
    fn g12_tail_forgets_all_events_of_a_history_that_the_log_left() {
        let tail = tail(4);
        push(&tail, 5, records(5..9));
        let mut divergences = tail.divergences();
        let divergence = Divergence {
            seen: 8.into(),
            shared: Some(5.into()),
        };
        tail.restart(Point::of(6.into(), b""), divergence);
        assert_eq!(tail.head().get(), 6);
        assert_eq!(after(&tail, 5, 10), None);
        assert_eq!(*divergences.borrow_and_update(), Some(divergence));
        assert!(push(&tail, 7, records(7..9)));
        assert_eq!(after(&tail, 6, 10), Some(records(7..9)));
    }
}
