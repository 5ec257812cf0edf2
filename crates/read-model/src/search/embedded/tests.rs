//! Tests of the embedded engine beyond the contract: its folder, crashes and failures.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tantivy::query::Weight as _;
use tantivy::{DocSet as _, IndexWriter, TantivyError};
use tempfile::TempDir;
use test_support::DEADLINE;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::facets::FacetCount;
use super::stop::Stop;
use super::terms::TermsQuery;
use super::{EmbeddedIndex, State, TantivyIndex, WriterSlot};
use crate::Row;
use crate::generations::NextGeneration;
use crate::request::FacetField;
use crate::search::contract_suite::{
    self, Fixture, checkpoint, contract_suite, everything, spelling_suite, write,
};
use crate::search::{Document, Engine, Error, LiveIndex, SearchRequest};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait::async_trait]
impl Fixture for Folder {
    async fn open(&self) -> Box<dyn LiveIndex> {
        Box::new(EmbeddedIndex::open(self.0.path()).unwrap())
    }
}

contract_suite!(Folder::new());
spelling_suite!(Folder::new());

#[tokio::test]
async fn the_page_of_differences_says_what_is_found() {
    contract_suite::assert_differences(Folder::new, |it| it.embedded).await;
}

fn document(row: u64) -> Document {
    contract_suite::document(row, |_| ())
}

async fn rows(index: &TantivyIndex) -> Vec<Row> {
    index.search(everything()).await.unwrap().rows()
}

/// Returns the rows and the checkpoint's position.
async fn content(index: &TantivyIndex) -> (Vec<u64>, Option<u64>) {
    let checkpoint = index.checkpoint("log").await.unwrap();
    let rows = rows(index).await.iter().map(|row| row.0).collect();
    (rows, checkpoint.map(|c| c.position))
}

fn take(state: &State) -> IndexWriter {
    match std::mem::replace(&mut *state.writer.blocking_lock(), WriterSlot::Taken) {
        WriterSlot::Ready(writer) => *writer,
        WriterSlot::Taken | WriterSlot::Closed => panic!("nobody writes"),
    }
}

/// Creates an index with one document, and closes it.
async fn fill(folder: &Path) {
    let index = TantivyIndex::open(folder).unwrap();
    write(&index, vec![document(1)], checkpoint(1)).await;
}

#[tokio::test]
async fn a_crash_before_the_commit_keeps_the_previous_commit() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let index = TantivyIndex::open(folder.path()).unwrap();
    let state = index.state.clone();
    let dies = move || {
        let mut writer = take(&state);
        state.replace(&writer, &[document(1), document(2)]).unwrap();
        // The segment is on disk; only the commit is missing.
        writer.prepare_commit().unwrap().set_payload("2 2 1 log");
    };
    tokio::task::spawn_blocking(dies).await.unwrap();
    drop(index);
    let index = TantivyIndex::open(folder.path()).unwrap();
    assert_eq!(content(&index).await, (vec![1], Some(1)));
}

fn slot(state: &State) -> OwnedMutexGuard<WriterSlot> {
    Arc::clone(&state.writer).blocking_lock_owned()
}

#[tokio::test]
async fn a_failed_write_leaves_no_changes_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let index = TantivyIndex::open(folder.path()).unwrap();
    let failing = index.blocking(|state| {
        state.commit(slot(state), Some(&checkpoint(2)), |writer| {
            state.replace(writer, &[document(2)])?;
            Err(TantivyError::SystemError("the disk is full".into()))
        })
    });
    assert!(failing.await.is_err());
    let panicking = index.blocking(|state| {
        state.commit(slot(state), Some(&checkpoint(3)), |writer| {
            state.replace(writer, &[document(3)])?;
            panic!("as a test")
        })
    });
    assert!(panicking.await.is_err());
    assert_eq!(content(&index).await, (vec![1], Some(1)));
    write(&index, vec![document(4)], checkpoint(4)).await;
    assert_eq!(content(&index).await, (vec![4, 1], Some(4)));
}

#[tokio::test]
async fn an_open_index_cannot_be_opened_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1)], checkpoint(1)).await;
    fs::write(folder.path().join("meta.json"), "broken").unwrap();
    assert!(TantivyIndex::open(folder.path()).is_err());
    write(&index, vec![document(2)], checkpoint(2)).await;
    drop(index);
    let index = TantivyIndex::open(folder.path()).unwrap();
    assert_eq!(content(&index).await, (vec![2, 1], Some(2)));
}

#[tokio::test]
async fn g7_an_uncommitted_file_is_removed_and_is_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path()).await;
    let meta = fs::read_to_string(folder.path().join("meta.json")).unwrap();
    let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
    let segment = meta["segments"][0]["segment_id"].as_str().unwrap();
    // A kill leaves such files during a replacement of documents and during a merge of segments.
    for name in ["7.del", "8.del"] {
        fs::write(
            folder
                .path()
                .join(format!("{}.{name}", segment.replace('-', ""))),
            "",
        )
        .unwrap();
    }
    let index = TantivyIndex::open(folder.path()).unwrap();
    assert_eq!(content(&index).await, (vec![1], Some(1)));
    write(&index, vec![document(1), document(2)], checkpoint(2)).await;
    assert_eq!(content(&index).await, (vec![2, 1], Some(2)));
}

#[tokio::test]
async fn a_damaged_index_is_emptied() {
    type Break = fn(&Path);
    let breaks: [(&str, Break); 6] = [
        ("no JSON", |folder| {
            fs::write(folder.join("meta.json"), "{").unwrap();
        }),
        ("a list of files that is none", |folder| {
            fs::write(folder.join(".managed.json"), "{").unwrap();
        }),
        ("files missing and cut short", |folder| {
            for (entry, remove) in fs::read_dir(folder)
                .unwrap()
                .zip([true, false].iter().cycle())
            {
                let path = entry.unwrap().path();
                if path.ends_with("meta.json") {
                    continue;
                } else if *remove {
                    fs::remove_file(path).unwrap();
                } else {
                    fs::write(path, "").unwrap();
                }
            }
        }),
        ("a file with a bit turned over", |folder| {
            let files = fs::read_dir(folder).unwrap();
            let mut paths = files.map(|entry| entry.unwrap().path());
            let path = paths
                .find(|path| path.extension().is_some_and(|name| name == "fast"))
                .unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes[0] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a checkpoint that is none", |folder| {
            let meta = fs::read_to_string(folder.join("meta.json")).unwrap();
            fs::write(folder.join("meta.json"), meta.replace("log_id", "no_id")).unwrap();
        }),
        ("other words", |folder| {
            let meta = fs::read_to_string(folder.join("meta.json")).unwrap();
            fs::write(folder.join("meta.json"), meta.replace("words-", "words-0")).unwrap();
        }),
    ];
    for (name, break_it) in breaks {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path()).await;
        break_it(folder.path());
        fs::create_dir(folder.path().join("folder")).unwrap();
        let index = TantivyIndex::open(folder.path()).unwrap();
        assert_eq!(content(&index).await, (vec![], None), "{name}");
        assert!(!folder.path().join("folder").exists(), "{name}");
        write(&index, vec![document(2)], checkpoint(2)).await;
        drop(index);
        let index = TantivyIndex::open(folder.path()).unwrap();
        assert_eq!(content(&index).await, (vec![2], Some(2)), "{name}");
    }
}

#[tokio::test]
async fn small_writes_are_merged_into_few_segments() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    for row in 1..=100 {
        write(&index, vec![document(row)], checkpoint(row)).await;
    }
    let state = index.state.clone();
    let merge = move || {
        let writer = take(&state);
        writer.wait_merging_threads().unwrap();
        state.index.searchable_segment_ids().unwrap().len()
    };
    let segments = tokio::task::spawn_blocking(merge).await.unwrap();
    assert!(segments < 10, "{segments} segments");
    assert_eq!(rows(&index).await.len(), 100);
}

#[tokio::test]
async fn g9_an_index_is_removed_while_its_segments_are_merged() {
    let folder = tempfile::tempdir().unwrap();
    let indexes = EmbeddedIndex::open(folder.path()).unwrap();
    for _ in 0..20 {
        let next = indexes
            .open_next(NextGeneration::New)
            .await
            .unwrap()
            .unwrap();
        // Writes enough segments to start a merge in the background.
        for row in 1..=16 {
            let documents = (row * 200..(row + 1) * 200).map(document).collect();
            let applied = next.write(documents, checkpoint(row)).await.unwrap();
            applied.await.unwrap();
        }
        drop(next);
        indexes.discard_next().await.unwrap();
        let mut left = fs::read_dir(folder.path()).unwrap();
        let left = left.find(|entry| entry.as_ref().unwrap().file_name() == "search-2");
        assert!(left.is_none(), "{left:?}");
    }
}

fn soon() -> Instant {
    Instant::now() + DEADLINE
}

#[tokio::test]
async fn a_search_ends_when_its_caller_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1)], checkpoint(1)).await;
    let snapshot = index.state.newest();
    let search = |caller| {
        let stop = Stop::new(caller, soon());
        snapshot.search(&index.state.fields, everything(), stop)
    };
    let caller = Arc::new(());
    assert_eq!(search(Arc::downgrade(&caller)).unwrap().total, 1);
    assert!(search(Weak::new()).is_err());
}

#[tokio::test]
async fn a_search_past_its_cutoff_answers_degraded() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1)], checkpoint(1)).await;
    let snapshot = index.state.newest();
    let caller = Arc::new(());
    for (cutoff, expected) in [(soon(), (1, false)), (Instant::now(), (0, true))] {
        let stop = Stop::new(Arc::downgrade(&caller), cutoff);
        let hits = snapshot
            .search(&index.state.fields, everything(), stop)
            .unwrap();
        assert_eq!((hits.total, hits.degraded), expected);
        assert_eq!(hits.checkpoint, Some(checkpoint(1)));
    }
}

#[tokio::test]
async fn a_search_that_is_cut_keeps_the_counts_of_what_it_found() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1), document(2)], checkpoint(1)).await;
    let snapshot = index.state.newest();
    let mut count = FacetCount::new(FacetField::Status);
    count.begin(snapshot.searcher.segment_reader(0)).unwrap();
    count.visit(&[0, 1]);
    let caller = Arc::new(());
    let cut = Stop::new(Arc::downgrade(&caller), Instant::now());
    count.end(&cut).unwrap();
    let counts = count.into_facet().values;
    assert_eq!(counts.iter().map(|value| value.count).sum::<u64>(), 2);
}

#[tokio::test]
async fn the_terms_of_a_word_are_read_until_the_search_must_stop() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1), document(2)], checkpoint(1)).await;
    let searcher = index.state.reader.searcher();
    let segment = searcher.segment_reader(0);
    let field = index.state.fields.texts()[1].field;
    let caller = Arc::new(());
    let found = |stop| {
        let stop = Arc::new(stop);
        let terms = [
            Ok(TermsQuery::beginning(field, "q", &stop)),
            TermsQuery::near(field, "q", 1, &stop),
        ];
        terms.map(|terms| {
            Ok::<_, TantivyError>(terms?.scorer(segment, 1.0)?.count_including_deleted())
        })
    };
    let open = found(Stop::new(Arc::downgrade(&caller), soon()));
    assert!(open.iter().all(|count| matches!(count, Ok(2))), "{open:?}");
    let cut = found(Stop::new(Arc::downgrade(&caller), Instant::now()));
    assert!(cut.iter().all(|count| matches!(count, Ok(0))), "{cut:?}");
    let gone = found(Stop::new(Weak::new(), soon()));
    assert!(gone.iter().all(Result::is_err), "{gone:?}");
}

#[tokio::test]
async fn a_search_past_its_timeout_fails_and_later_ones_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let index = TantivyIndex::open(folder.path()).unwrap();
    write(&index, vec![document(1)], checkpoint(1)).await;
    let request = SearchRequest {
        timeout: Duration::from_millis(10),
        ..everything()
    };
    let processors = index.search_permits.available_permits().try_into().unwrap();
    let all = index.search_permits.acquire_many(processors).await.unwrap();
    let late = timeout(DEADLINE, index.search(request)).await.unwrap();
    drop(all);
    assert!(matches!(late, Err(Error::TooSlow)), "{late:?}");
    assert_eq!(rows(&index).await, [Row(1)]);
}
