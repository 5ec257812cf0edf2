//! Reads what an index finds documents by: the terms of a field, and the documents of each term.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
};

use tantivy::{
    DocId, DocSet as _, SegmentReader, TERMINATED, Term,
    columnar::StrColumn,
    postings::Postings as _,
    schema::{Field, IndexRecordOption},
};

use crate::Row;

/// Maximum number of documents whose terms are gathered at once, in 32 MiB. A segment of more has its
/// terms read once for each so many documents, but no merge makes one.
const MAX_WINDOW_DOCUMENTS: u32 = 4 << 20;

/// Some documents of a segment that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// The index of the segment.
    pub(crate) segment: usize,
    pub(crate) documents: Range<DocId>,
}

/// Splits segments into windows.
pub(crate) fn windows(segments: &[SegmentReader]) -> Vec<Window> {
    let windows = segments.iter().enumerate().flat_map(|(segment, reader)| {
        let end = reader.max_doc();
        let starts = (0..end).step_by(MAX_WINDOW_DOCUMENTS as usize);
        starts.map(move |start| Window {
            segment,
            documents: start..end.min(start.saturating_add(MAX_WINDOW_DOCUMENTS)),
        })
    });
    windows.collect()
}

/// A term that leads to a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting<'a> {
    pub(crate) document: DocId,
    pub(crate) term: &'a [u8],
    /// The hash of the term.
    pub(crate) hash: u64,
    /// The position in the document's text; 0 in a field without positions.
    pub(crate) position: u32,
}

/// Shows every term of a field that leads to a document of the range, at each of its positions.
/// Includes deleted documents.
pub(crate) fn for_each(
    segment: &SegmentReader,
    field: Field,
    documents: &Range<DocId>,
    mut show: impl FnMut(Posting<'_>),
) -> tantivy::Result<()> {
    let index = segment.inverted_index(field)?;
    let mut terms = index.terms().stream()?;
    let mut positions = Vec::new();
    while terms.advance() {
        let option = IndexRecordOption::WithFreqsAndPositions;
        let mut postings = index.read_postings_from_terminfo(terms.value(), option)?;
        if postings.doc() < documents.start {
            postings.seek(documents.start);
        }
        let term = terms.key();
        let hash = hash(term);
        while postings.doc() < documents.end && postings.doc() != TERMINATED {
            let document = postings.doc();
            postings.positions(&mut positions);
            if positions.is_empty() {
                positions.push(0);
            }
            for &position in &positions {
                show(Posting {
                    document,
                    term,
                    hash,
                    position,
                });
            }
            postings.advance();
        }
    }
    Ok(())
}

/// Returns the hash of a term.
pub(crate) fn hash(term: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    term.hash(&mut hasher);
    hasher.finish()
}

/// Returns the hash of each text in a column, by its ordinal.
pub(crate) fn hashes(column: &StrColumn) -> tantivy::Result<Vec<u64>> {
    let mut hashes = Vec::with_capacity(column.num_terms());
    let mut terms = column.dictionary().stream()?;
    while terms.advance() {
        hashes.push(hash(terms.key()));
    }
    Ok(hashes)
}

/// Returns the documents of the rows from `first` to `last`. Reads only the terms of these rows, where
/// a query for a range would read the whole column.
pub(crate) fn of_rows(
    segment: &SegmentReader,
    field: Field,
    first: Row,
    last: Row,
) -> tantivy::Result<Vec<DocId>> {
    let index = segment.inverted_index(field)?;
    let key = |row: Row| Term::from_field_u64(field, row.0);
    let (first, last) = (key(first), key(last));
    let rows = index.terms().range();
    let rows = rows.ge(first.serialized_value_bytes());
    let mut rows = rows.le(last.serialized_value_bytes()).into_stream()?;
    let mut documents = Vec::new();
    while rows.advance() {
        let option = IndexRecordOption::Basic;
        let mut postings = index.read_postings_from_terminfo(rows.value(), option)?;
        while postings.doc() != TERMINATED {
            if !segment.is_deleted(postings.doc()) {
                documents.push(postings.doc());
            }
            postings.advance();
        }
    }
    Ok(documents)
}

/// Replaces what leads to the documents of an index by that of another index with as many documents,
/// in files whose checksums are right. Both have one segment, and neither is open.
#[cfg(test)]
pub(crate) fn replace(to: &std::path::Path, from: &std::path::Path) {
    const POSTINGS: [&str; 3] = ["idx", "pos", "term"];
    let files = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let kind = |path: &std::path::PathBuf| path.extension()?.to_str().map(str::to_owned);
        let paths = paths.filter_map(|path| Some((kind(&path)?, path)));
        let paths = paths.filter(|(kind, _)| POSTINGS.contains(&kind.as_str()));
        paths.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (to, from) = (files(to), files(from));
    assert_eq!((to.len(), from.len()), (POSTINGS.len(), POSTINGS.len()));
    for (kind, path) in to {
        std::fs::copy(&from[&kind], path).unwrap();
    }
}
