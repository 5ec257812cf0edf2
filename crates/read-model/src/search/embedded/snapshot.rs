//! One committed state of the index, to search in.

use tantivy::query::{AllQuery, BooleanQuery, Query};
use tantivy::{IndexReader, Searcher};

use super::schema::Fields;
use super::{facets, filter, page, payload, text, tokens};
use crate::search::{Checkpoint, Hits, Request};

/// The documents of a commit together with its checkpoint.
pub(super) struct Snapshot {
    searcher: Searcher,
    pub(super) checkpoint: Option<Checkpoint>,
}

impl Snapshot {
    /// The state of the last commit. Nobody may be committing meanwhile.
    pub(super) fn take(reader: &IndexReader) -> tantivy::Result<Self> {
        reader.reload()?;
        let searcher = reader.searcher();
        let payload = searcher.index().load_metas()?.payload;
        let checkpoint = payload.as_deref().map(payload::decode).transpose()?;
        Ok(Self {
            searcher,
            checkpoint,
        })
    }

    pub(super) fn search(&self, fields: &Fields, request: Request) -> tantivy::Result<Hits> {
        let query = query(fields, &request);
        let page = page::Collect::new(&request);
        let facets = facets::Count {
            fields: request.facets,
        };
        let (page, facets) = self.searcher.search(&query, &(page, facets))?;
        Ok(Hits {
            rows: page.rows,
            next: page.next,
            total: page.total,
            facets,
        })
    }
}

/// Every word and every condition must hold.
fn query(fields: &Fields, request: &Request) -> Box<dyn Query> {
    let words = tokens::words(&request.query);
    let mut clauses = filter::conditions(fields, &request.filter);
    clauses.extend(words.iter().map(|word| text::matches(fields, word)));
    if clauses.is_empty() {
        Box::new(AllQuery)
    } else {
        Box::new(BooleanQuery::intersection(clauses))
    }
}
