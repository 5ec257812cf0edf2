//! Matches the orders that have a term which begins as a word does, exactly or with typos.

use std::fmt;
use std::sync::Arc;

use super::stop::Stop;
use tantivy::postings::TermInfo;
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
    accepted: Accepted,
    stop: Arc<Stop>,
}

/// The terms that match.
#[derive(Clone)]
enum Accepted {
    Beginning(String),
    Near(Arc<Begins>),
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
            accepted: Accepted::Beginning(text.to_owned()),
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
            field,
            accepted: Accepted::Near(Arc::new(automaton)),
            stop: Arc::clone(stop),
        })
    }

    /// Calls `add` with each term that matches, until the search must stop.
    fn for_each(
        &self,
        index: &InvertedIndexReader,
        mut add: impl FnMut(&TermInfo) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        match &self.accepted {
            Accepted::Beginning(text) => {
                let mut terms = index.terms().range().ge(text).into_stream()?;
                let mut read = 0;
                while self.goes_on(&mut read)?
                    && terms.advance()
                    && terms.key().starts_with(text.as_bytes())
                {
                    add(terms.value())?;
                }
            }
            Accepted::Near(automaton) => {
                let mut terms = index.terms().search(&**automaton).into_stream()?;
                let mut read = 0;
                while self.goes_on(&mut read)? && terms.advance() {
                    add(terms.value())?;
                }
            }
        }
        Ok(())
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
        // A beginning may have millions of terms: opening the postings of each anew takes most of the
        // time.
        let mut opened = None;
        self.for_each(&index, |term| {
            let found = found.get_or_insert_with(|| BitSet::with_max_value(segment.max_doc()));
            let postings = match &mut opened {
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
                    found.insert(document);
                }
                postings.advance();
            }
            Ok(())
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
