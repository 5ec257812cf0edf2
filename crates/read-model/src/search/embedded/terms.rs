//! Matches the orders that have a term which begins as a word does, exactly or with typos.

use std::fmt;
use std::sync::Arc;

use super::clauses::Match;
use super::stop::Stop;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::query::{
    BitSetDocSet, ConstScorer, DfaWrapper, EmptyScorer, EnableScoring, Explanation, FuzzyTermQuery,
    Query, Scorer, Weight,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, InvertedIndexReader, Score, SegmentReader, TantivyError, Term};
use tantivy_fst::Automaton;

/// Terms between two checks of whether the search goes on. The check costs as much as a term.
const TERMS_BETWEEN_CHECKS: usize = 64;

/// The query for the terms of a field.
#[derive(Clone)]
pub(super) struct TermsQuery {
    field: Field,
    /// The beginning of the terms.
    text: String,
    /// The term that is the whole word.
    whole: String,
    /// Also accepts the terms that begin with the text after typos.
    near: Option<Arc<Begins>>,
    stop: Arc<Stop>,
}

/// Accepts the texts that begin with one that the automaton accepts. tantivy's own automaton of
/// beginnings misses some: those after which the text might have come nearer to the word, and did
/// not.
struct Begins(DfaWrapper);

impl Begins {
    /// Returns the state of the automaton, or `None` if it accepts the text so far.
    fn open(&self, state: u32) -> Option<u32> {
        (!self.0.is_match(&state)).then_some(state)
    }
}

impl Automaton for Begins {
    type State = Option<u32>;

    fn start(&self) -> Option<u32> {
        self.open(self.0.start())
    }

    fn is_match(&self, state: &Option<u32>) -> bool {
        state.is_none()
    }

    fn can_match(&self, state: &Option<u32>) -> bool {
        state.is_none_or(|state| self.0.can_match(&state))
    }

    fn will_always_match(&self, state: &Option<u32>) -> bool {
        state.is_none()
    }

    fn accept(&self, state: &Option<u32>, byte: u8) -> Option<u32> {
        state.and_then(|state| self.open(self.0.accept(&state, byte)))
    }
}

impl TermsQuery {
    /// Matches the terms that begin with `text`.
    pub(super) fn beginning(field: Field, text: &str, stop: &Arc<Stop>) -> Self {
        Self {
            field,
            text: text.to_owned(),
            whole: text.to_owned(),
            near: None,
            stop: Arc::clone(stop),
        }
    }

    /// Matches the terms that begin with `text` after so many typos.
    pub(super) fn near(
        field: Field,
        text: &str,
        typos: u8,
        stop: &Arc<Stop>,
    ) -> tantivy::Result<Self> {
        let term = Term::from_field_text(field, text);
        let automaton = Begins(FuzzyTermQuery::new(term, typos, true).automaton()?);
        Ok(Self {
            near: Some(Arc::new(automaton)),
            ..Self::beginning(field, text, stop)
        })
    }

    /// Takes `whole` for the term of the whole word.
    pub(super) fn with_whole(self, whole: String) -> Self {
        Self { whole, ..self }
    }

    pub(super) fn field(&self) -> Field {
        self.field
    }

    /// Returns the term that is the whole word.
    pub(super) fn whole(&self) -> Term {
        Term::from_field_text(self.field, &self.whole)
    }

    /// Returns the bytes that begin the terms without typos, and the first that come after all of
    /// these.
    pub(super) fn bounds(&self) -> [Vec<u8>; 2] {
        let first = self.text.clone().into_bytes();
        let mut end = first.clone();
        // A word is not empty, and UTF-8 has no byte 0xff.
        if let Some(last) = end.last_mut() {
            *last = last.saturating_add(1);
        }
        [first, end]
    }

    /// Calls `add` with each term that matches, until the search must stop.
    pub(super) fn for_each(
        &self,
        index: &InvertedIndexReader,
        mut add: impl FnMut(Match, &TermInfo) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        let mut read = 0;
        let Some(automaton) = &self.near else {
            let [first, end] = self.bounds();
            let mut terms = index.terms().range().ge(first).lt(end).into_stream()?;
            while self.goes_on(&mut read)? && terms.advance() {
                add(self.kind(terms.key()), terms.value())?;
            }
            return Ok(());
        };
        let mut terms = index.terms().search(&**automaton).into_stream()?;
        while self.goes_on(&mut read)? && terms.advance() {
            add(self.kind(terms.key()), terms.value())?;
        }
        Ok(())
    }

    /// Returns how an accepted term matches.
    fn kind(&self, term: &[u8]) -> Match {
        if term == self.whole.as_bytes() {
            Match::Exact
        } else if term.starts_with(self.text.as_bytes()) {
            Match::Part
        } else {
            Match::Typo
        }
    }

    /// Counts a term, and returns whether the search goes on.
    fn goes_on(&self, read: &mut usize) -> tantivy::Result<bool> {
        let is_checked = read.is_multiple_of(TERMS_BETWEEN_CHECKS);
        *read += 1;
        Ok(!is_checked || !self.stop.is_over()?)
    }
}

impl fmt::Debug for TermsQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TermsQuery").field(&self.field).finish()
    }
}

impl Query for TermsQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for TermsQuery {
    fn scorer(&self, segment: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let index = segment.inverted_index(self.field)?;
        // Most words match no term of most fields, and then need no memory for each order.
        let mut found: Option<BitSet> = None;
        let mut postings = None;
        self.for_each(&index, |_, term| {
            let found = found.get_or_insert_with(|| BitSet::with_max_value(segment.max_doc()));
            gather(&index, term, &mut postings, found)
        })?;
        Ok(match found {
            Some(found) => Box::new(ConstScorer::new(BitSetDocSet::from(found), boost)),
            None => Box::new(EmptyScorer),
        })
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Err(TantivyError::InvalidArgument("scores are constant".into()))
    }
}

/// Adds the documents of a term. `opened` are the postings of another term of the field, to be used
/// again: a beginning may have millions of terms, and opening the postings of each anew takes most of
/// the time.
pub(super) fn gather(
    index: &InvertedIndexReader,
    term: &TermInfo,
    opened: &mut Option<BlockSegmentPostings>,
    documents: &mut BitSet,
) -> tantivy::Result<()> {
    let postings = match opened {
        Some(postings) => {
            index.reset_block_postings_from_terminfo(term, postings)?;
            postings
        }
        none => {
            let basic = IndexRecordOption::Basic;
            none.insert(index.read_block_postings_from_terminfo(term, basic)?)
        }
    };
    while !postings.docs().is_empty() {
        for &document in postings.docs() {
            documents.insert(document);
        }
        postings.advance();
    }
    Ok(())
}
