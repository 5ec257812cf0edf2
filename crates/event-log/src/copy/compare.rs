//! Compares two logs row by row.

use super::{Error, FIRST_PAGE_EVENTS, MAX_PAGE_ROWS, contents::Contents, page_events};
use crate::{NewRequest, Position};

/// How many of the source's requests the target must have. In both cases, every request of the
/// target must be in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requests {
    /// All requests: the target is a copy.
    All,
    /// Any number of requests: the target may become a copy.
    Any,
}

/// Compares the requests, and the events through position `upto`. `report` receives the number of
/// rows compared so far.
///
/// # Errors
/// [`Error::Different`] with the first event or request id that differs; [`Error::Store`] when a
/// store fails.
pub(super) async fn compare(
    source: &mut Contents,
    target: &mut Contents,
    (upto, wanted): (Position, Requests),
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let (mut position, mut limit) = (Position::START, FIRST_PAGE_EVENTS);
    while position < upto {
        report(position.get());
        let page_limit = limit.min(upto.since(position) as usize);
        let (expected, found) = tokio::try_join!(
            source.events(position, page_limit),
            target.events(position, page_limit)
        )?;
        if let Some(index) = difference(&expected, &found) {
            let position = position + (index + 1);
            return Err(Error::Different(format!("event {position}")));
        }
        limit = page_events(&expected);
        position += expected.len();
    }
    let mut done = position.get();
    let (mut source_requests, mut target_requests) = (Cursor::default(), Cursor::default());
    let mut found = target_requests.next(target).await?;
    while let Some(expected) = source_requests.next(source).await? {
        let is_absent = found.as_ref().is_none_or(|found| found.id > expected.id);
        if found.as_ref() == Some(&expected) {
            found = target_requests.next(target).await?;
        } else if !is_absent || wanted == Requests::All {
            return Err(Error::of_request(match &found {
                Some(found) if found.id < expected.id => &found.id,
                _ => &expected.id,
            }));
        }
        done += 1;
        if done % MAX_PAGE_ROWS as u64 == 0 {
            report(done);
        }
    }
    found.map_or(Ok(()), |found| Err(Error::of_request(&found.id)))
}

/// Reads requests one by one, in the order of their ids.
#[derive(Debug, Default)]
struct Cursor {
    page: std::vec::IntoIter<NewRequest>,
    last: String,
}

impl Cursor {
    async fn next(&mut self, contents: &mut Contents) -> Result<Option<NewRequest>, Error> {
        if self.page.len() == 0 {
            self.page = contents
                .requests(&self.last, MAX_PAGE_ROWS)
                .await?
                .into_iter();
        }
        let next = self.page.next();
        if let Some(next) = &next {
            self.last.clone_from(&next.id);
        }
        Ok(next)
    }
}

/// Returns the index of the first row that differs, or that one side lacks.
fn difference<T: PartialEq>(expected: &[T], found: &[T]) -> Option<usize> {
    let pairs = expected.iter().zip(found);
    let same = pairs.take_while(|(expected, found)| expected == found);
    let same = same.count();
    (same < expected.len().max(found.len())).then_some(same)
}
