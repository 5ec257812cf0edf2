//! Differences: texts for which the two engines find other orders, or the same in another sequence.
//!
//! Each engine runs these cases, and they are the page `docs/reference/search-engines.md`.

use std::fmt::{self, Write as _};

use test_support::assert_reference;

use super::{Document, Fixture, document, filled, found, item};

/// A text of an order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    TrackingNumber(&'static str),
    CustomerName(&'static str),
    ProductName(&'static str),
    Address(&'static str),
}

use Text::{Address, CustomerName, ProductName, TrackingNumber};

/// A search whose results differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The rule that only one of the engines has.
    rule: &'static str,
    /// The texts of each order, from the oldest order to the newest.
    orders: &'static [&'static [Text]],
    query: &'static str,
    /// The results, as numbers of the orders from 1 on.
    pub(crate) embedded: &'static [u64],
    pub(crate) meilisearch: &'static [u64],
}

pub(crate) const DIFFERENCES: [Difference; 18] = [
    Difference {
        rule: "the beginning of a word before the last one",
        orders: &[&[CustomerName("Toms Spezialitäten")]],
        query: "tom spezi",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a part of a word without spaces, before the last word",
        orders: &[&[Address("東京都渋谷区神南")]],
        query: "渋谷 神南",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a part of a word without spaces, of more than 12 characters",
        orders: &[&[Address("東京都渋谷区神南一丁目代々木公園前南口商店街")]],
        query: "谷区神南一丁目代々木公園前南口商",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a part that begins within a word and goes on behind a space",
        orders: &[&[Address("서울특별시 강남구")]],
        query: "특별시강남",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a part of a Thai word that ends with a vowel or a mark",
        orders: &[&[Address("ถนนสุขุมวิท")]],
        query: "สุขุ",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "Thai without its vowels and marks",
        orders: &[&[ProductName("ข้าวผัดกุ้ง")]],
        query: "ผดกง",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "a typo in Thai or Khmer",
        orders: &[&[Address("กรุงเทพ")]],
        query: "กรุงเทบ",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a typo in the first letter",
        orders: &[&[CustomerName("Hanari")]],
        query: "xanari",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "two typos side by side in the beginning of a word",
        orders: &[&[CustomerName("Andersonville")]],
        query: "andersoxxn",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "a typo in a word with a digit",
        orders: &[&[ProductName("Chassis W124abc")]],
        query: "w124abd",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "two words for one",
        orders: &[&[CustomerName("Limaroda")]],
        query: "lima roda",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "a last word of one or two letters that is a typo of the word before it",
        orders: &[&[Address("Station Road, Harborville")]],
        query: "harborville 7",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "one word for two",
        orders: &[&[CustomerName("Lima Roda")]],
        query: "limaroda",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "an id in groups, of which one has more than three letters and no digit",
        orders: &[&[TrackingNumber("1234ABCDE56789")]],
        query: "12 34 ABCDE 567 89",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "an id that is being typed, after a word without spaces",
        orders: &[&[CustomerName("김철수"), TrackingNumber("1Z999AA10123456784")]],
        query: "김철수 1Z999AA1012345",
        embedded: &[1],
        meilisearch: &[],
    },
    Difference {
        rule: "an eleventh word",
        orders: &[&[Address("a b c d e f g h i j")]],
        query: "a b c d e f g h i j kyoto",
        embedded: &[],
        meilisearch: &[1],
    },
    Difference {
        rule: "the rank of whole words, and of words that follow each other",
        orders: &[
            &[CustomerName("Anna Berg Olga Maria")],
            &[CustomerName("Anna Mariana")],
        ],
        query: "anna maria",
        embedded: &[1, 2],
        meilisearch: &[2, 1],
    },
    Difference {
        rule: "the rank of a whole word in a worse field",
        orders: &[&[Address("Lima")], &[CustomerName("Limassol")]],
        query: "lima",
        embedded: &[1, 2],
        meilisearch: &[2, 1],
    },
];

impl Difference {
    /// Runs the search on an empty index, and returns the numbers of the orders found.
    async fn found(&self, fixture: &dyn Fixture) -> Vec<u64> {
        let order = |(row, texts): (u64, &&[Text])| {
            document(row, |order| {
                for text in *texts {
                    match *text {
                        TrackingNumber(text) => order.tracking_number = text.into(),
                        CustomerName(text) => order.customer_name = text.into(),
                        ProductName(text) => order.items.push(item("p", text)),
                        Address(text) => order.shipping_address = text.into(),
                    }
                }
            })
        };
        let documents: Vec<Document> = (1..).zip(self.orders).map(order).collect();
        let engine = filled(fixture, documents).await;
        let rows = found(&*engine, self.query).await;
        rows.iter().map(|row| row.0).collect()
    }

    /// Returns the texts of these orders, in a cell of a table.
    fn cell(&self, numbers: &[u64]) -> String {
        let numbered = || (1..).zip(self.orders);
        let orders = numbers
            .iter()
            .filter_map(|wanted| numbered().find(|(number, _)| number == wanted));
        let texts: Vec<_> = orders.map(|(_, texts)| Texts(texts).to_string()).collect();
        match texts.is_empty() {
            true => "nothing".to_owned(),
            false => texts.join("; "),
        }
    }
}

/// Asserts that an engine finds what the page says. `said` returns the engine's results, and `fixture`
/// an empty index.
pub(crate) async fn assert_differences<F: Fixture>(
    fixture: impl Fn() -> F,
    said: impl Fn(&Difference) -> &[u64],
) {
    let mut wrong = String::new();
    for difference in &DIFFERENCES {
        let found = difference.found(&fixture()).await;
        if found != said(difference) {
            writeln!(wrong, "{:?} finds {found:?}", difference.query).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Writes the texts of an order, each after the name of its field.
struct Texts(&'static [Text]);

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.0.iter().enumerate() {
            let (field, text) = match *text {
                TrackingNumber(text) => ("tracking", text),
                CustomerName(text) => ("customer", text),
                ProductName(text) => ("product", text),
                Address(text) => ("address", text),
            };
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{field} `{text}`")?;
        }
        Ok(())
    }
}

#[test]
fn the_page_of_differences_is_current() {
    let mut page = "# The two search engines

`contract_suite/differences.rs` makes this page from searches that it runs on both engines. Change those, then run
`UPDATE_REFERENCE=1 cargo test -p read-model --lib the_page_of_differences_is_current`.

The searches of the tests that both engines pass, in every script, find the same with both. [Using
orderlog](../guide/using.md#text-search) has the rules, and the limits of each engine.

| | orders, oldest first | text | embedded finds | Meilisearch finds |
|---|---|---|---|---|
"
    .to_owned();
    for difference in &DIFFERENCES {
        let Difference { rule, query, .. } = difference;
        assert_ne!(difference.embedded, difference.meilisearch, "{query}");
        let all: Vec<_> = (1..).take(difference.orders.len()).collect();
        let [orders, embedded, meilisearch] =
            [&all, difference.embedded, difference.meilisearch].map(|it| difference.cell(it));
        writeln!(
            page,
            "| {rule} | {orders} | `{query}` | {embedded} | {meilisearch} |"
        )
        .unwrap();
    }
    let test = "cargo test -p read-model --lib the_page_of_differences_is_current";
    assert_reference("search-engines.md", &page, test);
}
