//! Compares two logs row by row.

use super::{Error, FIRST_PAGE, PAGE, contents::Contents, page};
use crate::Request;

/// How many of the source's requests the target must have. In both cases, every request of the
/// target must be in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requests {
    /// All requests: the target is a copy.
    All,
    /// Any number of requests: the target may become a copy.
    Any,
}

/// Compares the requests, and the events through position `upto`. `tell` receives the number of
/// rows compared so far.
///
/// # Errors
/// [`Error::Different`] with the first event or request id that differs; [`Error::Store`] when a
/// store fails.
pub(super) async fn compare(
    source: &mut Contents,
    target: &mut Contents,
    (upto, wanted): (u64, Requests),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Error> {
    let (mut position, mut limit) = (0, FIRST_PAGE);
    while position < upto {
        tell(position);
        let limit_here = limit.min((upto - position) as usize);
        let (ours, theirs) = tokio::try_join!(
            source.events(position, limit_here),
            target.events(position, limit_here)
        )?;
        if let Some(index) = difference(&ours, &theirs) {
            let position = position + index as u64 + 1;
            return Err(Error::Different(format!("event {position}")));
        }
        limit = page(&ours);
        position += ours.len() as u64;
    }
    let (mut ours, mut theirs) = (Cursor::default(), Cursor::default());
    let mut their = theirs.next(target).await?;
    let mut done = position;
    while let Some(our) = ours.next(source).await? {
        let is_absent = their.as_ref().is_none_or(|their| their.id > our.id);
        if their.as_ref() == Some(&our) {
            their = theirs.next(target).await?;
        } else if !is_absent || wanted == Requests::All {
            return Err(Error::of_request(match &their {
                Some(their) if their.id < our.id => &their.id,
                _ => &our.id,
            }));
        }
        done += 1;
        if done % PAGE as u64 == 0 {
            tell(done);
        }
    }
    their.map_or(Ok(()), |their| Err(Error::of_request(&their.id)))
}

/// Reads requests one by one, in the order of their ids.
#[derive(Debug, Default)]
struct Cursor {
    page: std::vec::IntoIter<Request>,
    last: String,
}

impl Cursor {
    async fn next(&mut self, contents: &mut Contents) -> Result<Option<Request>, Error> {
        if self.page.len() == 0 {
            self.page = contents.requests(&self.last, PAGE).await?.into_iter();
        }
        let next = self.page.next();
        if let Some(next) = &next {
            self.last.clone_from(&next.id);
        }
        Ok(next)
    }
}

/// Returns the index of the first row that differs, or that one side lacks.
fn difference<T: PartialEq>(ours: &[T], theirs: &[T]) -> Option<usize> {
    let same = ours
        .iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs);
    let same = same.count();
    (same < ours.len().max(theirs.len())).then_some(same)
}
