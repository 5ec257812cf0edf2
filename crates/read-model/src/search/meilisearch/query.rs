//! Translates a request into a search of Meilisearch.

use std::iter;

use serde_json::{Map, Value, json};

use super::{
    document::{halves, key},
    settings::LOCALES,
    stored::{CHECKPOINT_FIELD, CHECKPOINT_WORD},
};
use crate::{
    Row,
    request::{Bound, Cursor, FacetField, OrderFilter, Sort, SortField},
    search::{
        SearchRequest,
        tokens::{
            self, Segment,
            forms::{self, MAX_GROUPS},
        },
    },
};

/// Finds only the checkpoint. An index without our settings rejects this filter and so the whole
/// call.
const CHECKPOINT_FILTER: &str = "row NOT EXISTS";

/// Bounds a word without a digit that may be a group of a code, in characters.
const MAX_GROUP_CHARS: usize = 3;

/// The weights of an order with exactly the searched id, and of one whose id or tracking number is in
/// the text. They multiply scores between 0 and 1, of which no match has less than 0.001.
const ID_WEIGHT: u32 = 1_000_000;
const CODE_WEIGHT: u32 = 1_000;

/// A search in the form that the server receives.
pub(super) struct Query {
    /// The searches of which one must find an order.
    searches: Vec<Search>,
    words: usize,
    filter: String,
    sort: Option<Sort>,
    facets: Vec<&'static str>,
    offset: usize,
    limit: usize,
    /// Excludes orders after this row, because they would shift the pages.
    newest: u64,
}

/// One search of a query.
struct Search {
    text: String,
    /// A condition besides the filter, for the orders that come first.
    exact: Option<String>,
    weight: u32,
}

/// Returns the name of a field that holds a number in two halves, without the suffix of the halves.
fn field(sort: SortField) -> &'static str {
    match sort {
        SortField::CreatedAt => "created",
        SortField::UpdatedAt => "updated",
        SortField::TotalAmount => "total",
    }
}

/// Returns the field whose values a facet counts.
pub(super) fn facet(field: FacetField) -> &'static str {
    match field {
        FacetField::Status => "status",
        FacetField::CustomerId => "customer",
        FacetField::ProductId => "products",
    }
}

impl From<SearchRequest> for Query {
    fn from(request: SearchRequest) -> Self {
        let words = tokens::segments(&request.query);
        let mut conditions = conditions(&request.filter);
        if words.is_empty() && !request.query.trim().is_empty() {
            conditions.push("row < 0".to_owned());
        }
        let (mut offset, mut newest) = (0, request.newest);
        match (request.sort, request.after) {
            (_, None) => {}
            (None, Some(after)) => {
                offset = usize::try_from(after.key).unwrap_or(0);
                newest = after.row;
            }
            (Some(sort), Some(after)) => conditions.push(behind(sort, after)),
        }
        // The checkpoint has no row.
        conditions.push(format!("row <= {newest}"));
        Self {
            searches: searches(&request.query, &words, request.sort),
            words: words.len(),
            filter: conditions.join(" AND "),
            sort: request.sort,
            facets: Vec::new(),
            offset,
            limit: request.limit,
            newest,
        }
    }
}

/// Returns the texts to search for these words: as they are, and if that differs, with the groups of a
/// code joined.
///
/// Meilisearch splits a word that begins with a digit if a word of a dense script is before it. So the
/// second text then has the dense words last.
fn texts(words: &[Segment]) -> Vec<String> {
    let has_digit = |word: &Segment| forms::has_digit(&word.text);
    let is_group = |word: &Segment| {
        let is_short = word.text.chars().count() <= MAX_GROUP_CHARS;
        !word.is_dense && (is_short || has_digit(word))
    };
    let mut joined: Vec<Segment> = Vec::new();
    for run in words.chunk_by(|one, next| is_group(one) && is_group(next)) {
        let is_code = (2..=MAX_GROUPS).contains(&run.len());
        match forms::code(run, 0..run.len()).filter(|_| is_code && run.iter().any(has_digit)) {
            Some(text) => joined.push(Segment {
                text,
                ..Segment::default()
            }),
            None => joined.extend_from_slice(run),
        }
    }
    let is_split = |pair: &[Segment]| {
        let begins_with_digit = pair[1]
            .text
            .starts_with(|first: char| first.is_ascii_digit());
        pair[0].is_dense && !pair[1].is_dense && begins_with_digit
    };
    if joined.windows(2).any(is_split) {
        joined.sort_by_key(|word| word.is_dense);
    }
    let mut texts = [words, &joined].map(text).to_vec();
    texts.dedup();
    texts
}

fn text(words: &[Segment]) -> String {
    let texts: Vec<_> = words.iter().map(|word| &*word.text).collect();
    texts.join(" ")
}

/// Returns the searches for a text: by relevance first those of the orders that come first.
fn searches(query: &str, words: &[Segment], sort: Option<Sort>) -> Vec<Search> {
    let texts = texts(words);
    let mut searches = Vec::new();
    if sort.is_none() && !words.is_empty() {
        searches.extend(of_id(query.trim(), words));
        let codes: Vec<_> = forms::codes(words).iter().map(|it| quoted(it)).collect();
        let condition = format!("codes IN [{}]", codes.join(", "));
        searches.extend(texts.iter().map(|text| Search {
            text: text.clone(),
            exact: Some(condition.clone()),
            weight: CODE_WEIGHT,
        }));
    }
    searches.extend(texts.into_iter().map(|text| Search {
        text,
        exact: None,
        weight: 1,
    }));
    searches
}

/// Returns the search for the order with exactly this id, if the text is one.
fn of_id(id: &str, words: &[Segment]) -> Option<Search> {
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let joined: String = words.iter().map(|word| &*word.text).collect();
    id.bytes().all(is_id).then(|| Search {
        text: phrase(&joined),
        exact: Some(format!("order = {}", quoted(&key(id)))),
        weight: ID_WEIGHT,
    })
}

/// Returns the text that finds a word only as it is. The server does not look for its typos and
/// endings then, which takes most of the time of a search for one order.
fn phrase(word: &str) -> String {
    format!("\"{word}\"")
}

impl Query {
    /// Creates the search that counts the matches of a request over all pages, and their facets.
    pub(super) fn counting(request: SearchRequest) -> Self {
        let facets = request.facets.iter().map(|field| facet(*field)).collect();
        let request = SearchRequest {
            // By relevance, the page's cursor has the newest row of the first page.
            after: request.after.filter(|_| request.sort.is_none()),
            limit: 0,
            ..request
        };
        let mut counting = Self {
            facets,
            offset: 0,
            ..Self::from(request)
        };
        // The orders that come first are among the matches.
        counting.searches.retain(|search| search.exact.is_none());
        counting
    }

    /// Returns the body of the call. The server runs all its searches on one state of the index, and
    /// merges their hits: first the checkpoint, then the orders, each once. The call requests one order
    /// more than the page holds, to know whether more follow.
    pub(super) fn body(&self, uid: &str) -> Value {
        let mut sort = vec![format!("{CHECKPOINT_FIELD}:asc")];
        sort.extend(self.sort.map(order).unwrap_or_default());
        let numbers = self.sort.map(halves_of).into_iter().flatten();
        let shown: Vec<_> = numbers.chain(["row".to_owned()]).collect();
        let search = |text: &str, filter: &str, weight: u32| {
            json!({
                "indexUid": uid,
                "q": text,
                "filter": filter,
                "sort": sort,
                "matchingStrategy": "all",
                "locales": LOCALES,
                "attributesToRetrieve": shown,
                "federationOptions": { "weight": weight },
            })
        };
        // The server merges only searches that all have words, or all have none.
        let word = match self.words {
            0 => String::new(),
            _ => phrase(CHECKPOINT_WORD),
        };
        let mut checkpoint = search(&word, CHECKPOINT_FILTER, 1);
        checkpoint["attributesToRetrieve"] = json!(["*"]);
        let searches = self.searches.iter().map(|it| {
            let filter = match &it.exact {
                Some(condition) => format!("{} AND {condition}", self.filter),
                None => self.filter.clone(),
            };
            search(&it.text, &filter, it.weight)
        });
        let searches: Vec<_> = iter::once(checkpoint).chain(searches).collect();
        // The checkpoint is before the first page, so each page is read from there on.
        let limit = 1 + self.offset.saturating_add(self.limit).saturating_add(1);
        let mut federation = json!({ "limit": limit });
        if !self.facets.is_empty() {
            federation["facetsByIndex"] = json!({ uid: self.facets });
        }
        json!({ "federation": federation, "queries": searches })
    }

    /// Returns the number of words in the query.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Returns the number of orders before the page.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Returns the cursor of a page that ends with this hit: the order's number and row. By
    /// relevance, it is the number of hits so far and the newest row of the first page.
    pub(super) fn behind(&self, index: usize, hit: &Map<String, Value>, row: Row) -> Cursor {
        let number = |name: &String| hit.get(name).and_then(Value::as_i64).unwrap_or(0);
        match self.sort.map(halves_of) {
            Some([high, low]) => Cursor {
                key: number(&high) << 32 | number(&low),
                row: row.0,
            },
            None => Cursor {
                key: i64::try_from(self.offset + index + 1).unwrap_or(i64::MAX),
                row: self.newest,
            },
        }
    }
}

/// Returns the two fields that hold the sort value.
fn halves_of(sort: Sort) -> [String; 2] {
    ["high", "low"].map(|half| format!("{}_{half}", field(sort.field)))
}

fn order(sort: Sort) -> Vec<String> {
    let direction = if sort.descending { "desc" } else { "asc" };
    let fields = halves_of(sort).into_iter().chain(["row".to_owned()]);
    fields.map(|field| format!("{field}:{direction}")).collect()
}

/// Builds the condition for orders after a cursor.
fn behind(
    Sort {
        field: by,
        descending,
    }: Sort,
    after: Cursor,
) -> String {
    let by = field(by);
    let beyond = if descending { "<" } else { ">" };
    let (high, low) = halves(after.key);
    let row = after.row;
    format!(
        "({by}_high {beyond} {high} OR ({by}_high = {high} AND ({by}_low {beyond} {low} \
         OR ({by}_low = {low} AND row {beyond} {row}))))"
    )
}

/// Builds a comparison of a field in two halves with `number`; `strictly` is `<` or `>`.
fn compared(by: &str, strictly: char, or_equal: bool, number: i64) -> String {
    let (high, low) = halves(number);
    let equal = if or_equal { "=" } else { "" };
    format!(
        "({by}_high {strictly} {high} OR ({by}_high = {high} AND {by}_low {strictly}{equal} {low}))"
    )
}

fn conditions(filter: &OrderFilter) -> Vec<String> {
    let mut conditions = Vec::new();
    let mut any = |field: &str, values: Vec<String>| {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
            conditions.push(format!("{field} IN [{}]", values.join(", ")));
        }
    };
    let keys = |ids: &[String]| ids.iter().map(|id| key(id)).collect();
    any("order", keys(&filter.order_ids));
    any("customer", keys(&filter.customer_ids));
    any("products", keys(&filter.product_ids));
    let statuses = filter.statuses.iter();
    any(
        "status",
        statuses
            .map(|status| status.as_str_name().to_owned())
            .collect(),
    );
    let currency = |bound: &Option<Bound>| {
        let currency = bound.as_ref().and_then(|bound| bound.currency.clone());
        currency.into_iter().collect()
    };
    any("currency", currency(&filter.min_total));
    any("currency", currency(&filter.max_total));
    if let Some(from) = filter.created_from {
        conditions.push(compared("created", '>', true, from));
    }
    if let Some(to) = filter.created_to {
        conditions.push(compared("created", '<', false, to));
    }
    if let Some(min) = &filter.min_total {
        conditions.push(compared("total", '>', true, min.amount));
    }
    if let Some(max) = &filter.max_total {
        conditions.push(compared("total", '<', true, max.amount));
    }
    conditions
}

/// Quotes a value, so that no character in it acts as an operator.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
