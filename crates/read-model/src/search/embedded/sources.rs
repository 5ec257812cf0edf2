//! Finds the orders of a segment that meet a clause, by everything that leads to them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use tantivy::columnar::{Column, TermOrdHit};
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::query::{EnableScoring, Scorer};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, InvertedIndexReader, Searcher, SegmentReader};

use super::clauses::{Alternative, Beginning, Clause, Level, Match};
use super::terms::gather;
use crate::columns::{self, Scratch};

/// The number of documents of a segment that are matched at once. Their levels and scores fit in the
/// nearest cache of a processor.
pub(super) const WINDOW: DocId = 4096;

/// A term that is in more than one of so many documents of a segment, and in more than
/// [`RARE_DOCUMENTS`], is read window by window. The documents of rarer terms are collected in one
/// set, so that few postings are open at a time.
const FREQUENT: u32 = 64;
const RARE_DOCUMENTS: u32 = 128;

/// If a beginning has more than one term for so many documents, it is looked up in a column: that
/// takes no longer than reading the terms and their postings.
const DOCUMENTS_A_TERM: u64 = 64;

/// The levels at which the documents of a window meet a clause; 0 for those that do not.
pub(super) struct WindowLevels {
    start: DocId,
    /// The number of documents of the window.
    length: usize,
    levels: Vec<u8>,
    /// The range of all levels above 0.
    reached: Range<usize>,
    found: Vec<DocId>,
}

impl WindowLevels {
    pub(super) fn new() -> Self {
        Self {
            start: 0,
            length: 0,
            levels: vec![0; WINDOW as usize],
            reached: 0..0,
            found: Vec::new(),
        }
    }

    /// Begins a window of at most [`WINDOW`] documents.
    fn begin(&mut self, window: &Range<DocId>) {
        self.levels[self.reached.clone()].fill(0);
        self.reached = 0..0;
        self.start = window.start;
        self.length = window.len();
    }

    /// Returns whether all documents of the window, or the candidates, have this level or a better one.
    fn all_reach(&self, level: Level, candidates: Option<&[DocId]>) -> bool {
        match candidates {
            Some(candidates) => candidates.iter().all(|&it| self.level(it) >= level.0),
            None => self.levels[..self.length].iter().all(|it| *it >= level.0),
        }
    }

    /// Raises the levels of some documents of the window, which are sorted.
    fn raise(&mut self, documents: &[DocId], level: Level) {
        let (Some(first), Some(last)) = (documents.first(), documents.last()) else {
            return;
        };
        let at = |document: DocId| (document - self.start) as usize;
        let (first, end) = (at(*first), at(*last) + 1);
        self.reached = match self.reached.is_empty() {
            true => first..end,
            false => self.reached.start.min(first)..self.reached.end.max(end),
        };
        for document in documents {
            let best = &mut self.levels[(document - self.start) as usize];
            *best = level.0.max(*best);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reached.is_empty()
    }

    /// Returns the first document with a level, and the levels from it on.
    pub(super) fn reached(&self) -> (DocId, &[u8]) {
        // A window has at most 4096 documents.
        let first = self.start + self.reached.start as DocId;
        (first, &self.levels[self.reached.clone()])
    }

    /// Returns the level of a document of the window.
    pub(super) fn level(&self, document: DocId) -> u8 {
        self.levels[(document - self.start) as usize]
    }
}

/// A clause in a segment.
pub(super) struct Sources {
    /// The best ones first.
    sources: Vec<(Level, Source)>,
    /// The number of documents, estimated.
    pub(super) cost: u64,
}

impl Sources {
    pub(super) fn open(
        clause: &Clause,
        searcher: &Searcher,
        segment: &SegmentReader,
    ) -> tantivy::Result<Self> {
        let mut opening = Opening {
            segment,
            sources: Vec::new(),
            rare: BTreeMap::new(),
            index: None,
            postings: None,
            cost: 0,
        };
        for alternative in &clause.0 {
            match alternative {
                Alternative::Term(level, term) => {
                    let index = opening.index(term.field())?;
                    if let Some(info) = index.get_term_info(term)? {
                        opening.add(*level, &index, &info)?;
                    }
                }
                Alternative::Beginning(beginning) => opening.beginning(beginning)?,
                Alternative::Query(level, query) => {
                    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
                    let scorer = weight.scorer(segment, 1.0)?;
                    opening.cost += u64::from(scorer.size_hint());
                    opening.sources.push((*level, Source::Scorer(scorer)));
                }
            }
        }
        let Opening {
            mut sources,
            rare,
            cost,
            ..
        } = opening;
        let rare = rare.into_iter();
        sources.extend(rare.map(|(level, documents)| (level, Source::Set(documents))));
        sources.sort_by_key(|(level, source)| (Reverse(*level), source.order()));
        Ok(Self { sources, cost })
    }

    /// Sets the levels of a window to those of this clause. Windows come in the order of their
    /// documents. If there are `candidates`, only their levels matter.
    pub(super) fn set_levels(
        &mut self,
        window: &Range<DocId>,
        candidates: Option<&[DocId]>,
        levels: &mut WindowLevels,
    ) {
        levels.begin(window);
        for (level, source) in &mut self.sources {
            // Later ones are worse.
            if levels.all_reach(*level, candidates) {
                return;
            }
            source.raise(window, *level, levels);
        }
    }
}

struct Opening<'a> {
    segment: &'a SegmentReader,
    sources: Vec<(Level, Source)>,
    rare: BTreeMap<Level, BitSet>,
    /// The field whose terms were read last.
    index: Option<(Field, Arc<InvertedIndexReader>)>,
    /// Postings of a term of this field, to be used again.
    postings: Option<BlockSegmentPostings>,
    cost: u64,
}

impl Opening<'_> {
    fn index(&mut self, field: Field) -> tantivy::Result<Arc<InvertedIndexReader>> {
        match &self.index {
            Some((last, index)) if *last == field => Ok(Arc::clone(index)),
            _ => {
                let index = self.segment.inverted_index(field)?;
                self.index = Some((field, Arc::clone(&index)));
                self.postings = None;
                Ok(index)
            }
        }
    }

    fn beginning(&mut self, beginning: &Beginning) -> tantivy::Result<()> {
        let index = self.index(beginning.terms.field())?;
        let level = |kind| Level::new(kind, beginning.weight);
        if let Some(terms) = self.column_terms(beginning)? {
            if let Some(info) = index.get_term_info(&beginning.terms.whole())? {
                self.add(level(Match::Exact), &index, &info)?;
            }
            self.cost += u64::from(self.segment.max_doc());
            self.sources
                .push((level(Match::Part), Source::Column(terms)));
        } else {
            beginning
                .terms
                .for_each(&index, |kind, info| self.add(level(kind), &index, info))?;
        }
        Ok(())
    }

    /// Returns the terms of a beginning in the column, if there are many.
    fn column_terms(&self, beginning: &Beginning) -> tantivy::Result<Option<ColumnTerms>> {
        let Some(name) = beginning.column else {
            return Ok(None);
        };
        let Some(column) = self.segment.fast_fields().str(name)? else {
            return Ok(None);
        };
        let [first, end] = beginning.terms.bounds();
        let [first, end] = [first, end].map(|bytes| column.dictionary().term_ord_or_next(bytes));
        let [first, end] = [first?, end?].map(|hit| match hit {
            TermOrdHit::Exact(ordinal) => ordinal,
            TermOrdHit::Next(ordinal) => ordinal.min(column.num_terms() as u64),
        });
        let max_doc = u64::from(self.segment.max_doc());
        let is_many = end.saturating_sub(first) * DOCUMENTS_A_TERM > max_doc;
        if !is_many {
            return Ok(None);
        }
        Ok(Some(ColumnTerms {
            column: column.ords().clone(),
            // There are many, so not none.
            terms: first..=end - 1,
            scratch: Scratch::default(),
        }))
    }

    fn add(
        &mut self,
        level: Level,
        index: &InvertedIndexReader,
        info: &TermInfo,
    ) -> tantivy::Result<()> {
        self.cost += u64::from(info.doc_freq);
        if info.doc_freq > RARE_DOCUMENTS.max(self.segment.max_doc() / FREQUENT) {
            let basic = IndexRecordOption::Basic;
            let postings = index.read_block_postings_from_terminfo(info, basic)?;
            let frequent = Source::Postings(Box::new(PostingsCursor { postings, at: 0 }));
            self.sources.push((level, frequent));
            return Ok(());
        }
        let max_doc = self.segment.max_doc();
        let rare = self.rare.entry(level);
        let rare = rare.or_insert_with(|| BitSet::with_max_value(max_doc));
        gather(index, info, &mut self.postings, rare)
    }
}

/// Leads to documents of a segment.
enum Source {
    /// The postings of a frequent term.
    Postings(Box<PostingsCursor>),
    /// The documents of rare terms.
    Set(BitSet),
    Column(ColumnTerms),
    Scorer(Box<dyn Scorer>),
}

/// Postings, with the index of the next document in their block.
struct PostingsCursor {
    postings: BlockSegmentPostings,
    at: usize,
}

/// The documents with these ordinals of a column.
struct ColumnTerms {
    column: Column<u64>,
    terms: RangeInclusive<u64>,
    scratch: Scratch,
}

impl Source {
    /// Returns the order of a source among those of the same level. Fast sources come first, then columns
    /// by their number of terms, because a larger one more often makes the others needless.
    fn order(&self) -> (u8, Reverse<u64>) {
        match self {
            Self::Postings(_) | Self::Set(_) => (0, Reverse(0)),
            Self::Column(ColumnTerms { terms, .. }) => (1, Reverse(terms.end() - terms.start())),
            Self::Scorer(_) => (2, Reverse(0)),
        }
    }

    fn raise(&mut self, window: &Range<DocId>, level: Level, levels: &mut WindowLevels) {
        let mut found = mem::take(&mut levels.found);
        found.clear();
        match self {
            Self::Postings(cursor) => cursor.raise(window, level, levels),
            Self::Set(documents) => {
                for bucket in window.start / 64..=(window.end - 1) / 64 {
                    let bits = documents.tinyset(bucket).into_iter();
                    found.extend(bits.map(|bit| bucket * 64 + bit));
                }
                found.retain(|document| window.contains(document));
            }
            Self::Column(ColumnTerms {
                column,
                terms,
                scratch,
            }) => columns::find(column, window, terms, scratch, &mut found),
            Self::Scorer(scorer) => {
                let mut document = scorer.doc();
                if document < window.start {
                    document = scorer.seek(window.start);
                }
                while document < window.end {
                    found.push(document);
                    document = scorer.advance();
                }
            }
        }
        levels.raise(&found, level);
        levels.found = found;
    }
}

impl PostingsCursor {
    fn raise(&mut self, window: &Range<DocId>, level: Level, levels: &mut WindowLevels) {
        let Self { postings, at } = self;
        match postings.docs().last() {
            Some(last) if *last < window.start => *at = postings.seek(window.start),
            _ => {}
        }
        loop {
            let documents = postings.docs().get(*at..).unwrap_or_default();
            let before = documents.partition_point(|document| *document < window.start);
            let until = documents.partition_point(|document| *document < window.end);
            levels.raise(&documents[before..until], level);
            if until < documents.len() || postings.docs().is_empty() {
                *at += until;
                return;
            }
            postings.advance();
            *at = 0;
        }
    }
}
