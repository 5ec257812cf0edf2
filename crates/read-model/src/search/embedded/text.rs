//! Says what the text of a query asks of orders.

use std::collections::BTreeSet;
use std::sync::Arc;

use tantivy::Term;
use tantivy::query::{BooleanQuery, PhrasePrefixQuery, PhraseQuery, Query};

use super::analyzer::WHOLE;
use super::clauses::{Alternative, Beginning, Clause, Level, Match};
use super::scan::Criteria;
use super::schema::{Fields, TextField, TextKind};
use super::stop::Stop;
use super::terms::TermsQuery;
use crate::search::tokens::forms::{code_parts, codes, groups_with, typos, windows};
use crate::search::tokens::{self, Segment};

/// Bounds the terms that may end a phrase, so that a short beginning costs no more.
const MAX_ENDINGS: u32 = 1_000;

/// Builds the criteria for a text. Returns `None` for a text without words.
pub(super) fn criteria(
    fields: &Fields,
    text: &str,
    stop: &Arc<Stop>,
) -> tantivy::Result<Option<Criteria>> {
    let words = tokens::segments(text);
    if words.is_empty() {
        return Ok(None);
    }
    let matching = Matching { fields, stop };
    let mut required = Vec::with_capacity(words.len());
    let mut seen = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        let groups = groups_with(&words, index);
        if seen.insert(&word.text) || !groups.is_empty() {
            required.push(matching.word(word, &groups)?);
        }
    }
    let pairs = words.iter().zip(words.iter().skip(1)).enumerate();
    let neighbours = pairs.map(|(index, (first, second))| {
        matching.neighbours(first, second, index + 2 == words.len())
    });
    Ok(Some(Criteria {
        required,
        ids: matching.ids(text, &words),
        neighbours: neighbours.collect(),
    }))
}

/// Builds queries of the fields of an index for a search.
struct Matching<'a> {
    fields: &'a Fields,
    stop: &'a Arc<Stop>,
}

impl Matching<'_> {
    /// Matches the orders with this word in any field, alone or as a part of a code.
    fn word(&self, word: &Segment, groups: &[String]) -> tantivy::Result<Clause> {
        let mut matches = Vec::new();
        for field in self.fields.texts() {
            match word.is_dense {
                true => self.dense(field, word, &mut matches)?,
                false => self.plain(field, &word.text, &mut matches)?,
            }
            for group in groups {
                let terms = self.beginning(field, group);
                matches.push(begins(field, terms));
            }
        }
        Ok(Clause(matches))
    }

    fn beginning(&self, field: &TextField, text: &str) -> TermsQuery {
        TermsQuery::beginning(field.field, text, self.stop)
    }

    fn near(&self, field: &TextField, text: &str) -> tantivy::Result<TermsQuery> {
        TermsQuery::near(field.field, text, typos(text), self.stop)
    }

    /// Returns the terms that begin as a word does, with typos if it may have any.
    fn terms(&self, field: &TextField, word: &str) -> tantivy::Result<TermsQuery> {
        match typos(word) > 0 && field.kind == TextKind::Words {
            true => self.near(field, word),
            false => Ok(self.beginning(field, word)),
        }
    }

    fn plain(
        &self,
        field: &TextField,
        word: &str,
        matches: &mut Vec<Alternative>,
    ) -> tantivy::Result<()> {
        let terms = self.terms(field, word)?;
        matches.push(begins(field, terms));
        let parts = code_parts(word);
        if parts.len() > 1 && field.kind == TextKind::Words {
            let terms = parts.iter().map(|part| term(field, part)).enumerate();
            matches.push(query(field, Match::Part, phrase(terms.collect())));
        }
        Ok(())
    }

    /// Matches a word of a dense script as a whole word, as a part of one, and with typos.
    fn dense(
        &self,
        field: &TextField,
        word: &Segment,
        matches: &mut Vec<Alternative>,
    ) -> tantivy::Result<()> {
        let parts: Vec<_> = windows(word).collect();
        if let [part] = parts[..] {
            let terms = self.terms(field, part)?;
            let terms = match field.kind {
                TextKind::Code => terms,
                TextKind::Words | TextKind::IdWords => terms.with_whole(whole(word)),
            };
            matches.push(begins(field, terms));
            return Ok(());
        }
        let beginnings = parts.iter().map(|part| self.beginning(field, part));
        matches.push(query(field, Match::Part, all(beginnings)));
        if typos(&word.text) > 0 && field.kind == TextKind::Words {
            let near = parts.iter().map(|part| self.near(field, part));
            let near = near.collect::<tantivy::Result<Vec<_>>>()?;
            matches.push(query(field, Match::Typo, all(near)));
        }
        Ok(())
    }

    /// Matches the orders whose id or tracking number is in this text, however grouped, and the one
    /// whose id is this text.
    fn ids(&self, text: &str, words: &[Segment]) -> Vec<Clause> {
        let codes = codes(words);
        let is_code = |field: &&TextField| field.kind == TextKind::Code;
        let fields = self.fields.texts().into_iter().filter(is_code);
        let terms = fields.flat_map(|field| codes.iter().map(|code| term(field, code)));
        let is = |term| Alternative::Term(Level::CONDITION, term);
        let exact = Term::from_field_text(self.fields.order_id, text.trim());
        vec![Clause(terms.map(is).collect()), Clause(vec![is(exact)])]
    }

    /// Matches the orders in which a word follows another one, of which it may be the last that was
    /// typed. One of the queries must match.
    fn neighbours(&self, first: &Segment, second: &Segment, is_last: bool) -> Vec<Box<dyn Query>> {
        let is_text = |field: &&TextField| field.kind == TextKind::Words;
        let fields = self.fields.texts().into_iter().filter(is_text);
        let queries = fields.map(|field| -> Box<dyn Query> {
            if first.is_dense && second.is_dense {
                let joined = tokens::joined(&[first.clone(), second.clone()]);
                return Box::new(all(windows(&joined).map(|part| self.beginning(field, part))));
            }
            let (begin, at) = match first.is_dense {
                true => (whole(first), first.letters.len()),
                false => (first.text.clone(), 1),
            };
            let terms = vec![(0, term(field, &begin)), (at, term(field, &second.text))];
            match is_last || second.is_dense {
                true => Box::new(phrase(terms)),
                false => Box::new(PhraseQuery::new_with_offset(terms)),
            }
        });
        queries.collect()
    }
}

fn begins(field: &TextField, terms: TermsQuery) -> Alternative {
    Alternative::Beginning(Beginning {
        terms,
        weight: field.weight,
        column: field.column(),
    })
}

fn query(field: &TextField, kind: Match, query: impl Query) -> Alternative {
    Alternative::Query(Level::new(kind, field.weight), Box::new(query))
}

fn term(field: &TextField, text: &str) -> Term {
    Term::from_field_text(field.field, text)
}

fn whole(word: &Segment) -> String {
    format!("{}{WHOLE}", word.text)
}

/// Matches terms that follow each other, of which the last one may go on.
fn phrase(terms: Vec<(usize, Term)>) -> PhrasePrefixQuery {
    let mut phrase = PhrasePrefixQuery::new_with_offset(terms);
    phrase.set_max_expansions(MAX_ENDINGS);
    phrase
}

fn all(queries: impl IntoIterator<Item = TermsQuery>) -> BooleanQuery {
    let boxed = queries
        .into_iter()
        .map(|query| -> Box<dyn Query> { Box::new(query) });
    BooleanQuery::intersection(boxed.collect())
}
