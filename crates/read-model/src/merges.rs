//! Decides which segments of an index are merged.

use tantivy::{
    index::SegmentMeta,
    indexer::{LogMergePolicy, MergeCandidate, MergePolicy},
};

/// Segments of more documents are not merged with others.
const MAX_MERGED_DOCUMENTS: u32 = 500_000;

/// Maximum number of segments in one merge.
const MAX_MERGED_SEGMENTS: usize = 8;

/// Maximum share of replaced documents, beyond which a segment is written anew without them.
const MAX_REPLACED_SHARE: f32 = 0.3;

/// Merges segments of about the same size up to 4 million documents, so that the memory of a merge,
/// which is in proportion to them, does not grow with the log (G11). Writes a larger segment anew only
/// to drop its replaced documents.
#[derive(Debug)]
pub(crate) struct BoundedMerges(LogMergePolicy);

impl BoundedMerges {
    /// Merges segments of up to `level` documents as if they were of the same size.
    pub(crate) fn new(level: u32) -> Self {
        let mut small = LogMergePolicy::default();
        small.set_min_num_segments(MAX_MERGED_SEGMENTS);
        small.set_max_docs_before_merge(MAX_MERGED_DOCUMENTS as usize);
        small.set_min_layer_size(level);
        small.set_del_docs_ratio_before_merge(MAX_REPLACED_SHARE);
        Self(small)
    }
}

impl MergePolicy for BoundedMerges {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let mut merges = Vec::new();
        for MergeCandidate(small) in self.0.compute_merge_candidates(segments) {
            if small.len() < MAX_MERGED_SEGMENTS {
                merges.push(MergeCandidate(small));
            } else {
                let parts = small.chunks_exact(MAX_MERGED_SEGMENTS);
                merges.extend(parts.map(|part| MergeCandidate(part.to_vec())));
            }
        }
        let large = segments
            .iter()
            .filter(|it| it.num_docs() > MAX_MERGED_DOCUMENTS);
        let replaced = large.filter(|segment| {
            let most = segment.max_doc() as f32 * MAX_REPLACED_SHARE;
            segment.num_deleted_docs() as f32 > most
        });
        merges.extend(replaced.map(|segment| MergeCandidate(vec![segment.id()])));
        merges
    }
}

#[cfg(test)]
mod tests {
    use tantivy::{Index, index::SegmentId, schema::Schema};

    use super::*;

    /// Returns the numbers of documents in each merge of segments with so many documents, of which so
    /// many are replaced.
    fn merged(segments: &[(u32, u32)]) -> Vec<Vec<u32>> {
        let index = Index::create_in_ram(Schema::builder().build());
        let segments = segments.iter().map(|&(documents, replaced)| {
            let segment = index.new_segment_meta(SegmentId::generate_random(), documents);
            segment.with_delete_meta(replaced, 1)
        });
        let segments: Vec<_> = segments.collect();
        let documents = |id: &SegmentId| {
            let segment = segments.iter().find(|segment| segment.id() == *id);
            segment.unwrap().max_doc()
        };
        let merges = BoundedMerges::new(10_000).compute_merge_candidates(&segments);
        merges
            .iter()
            .map(|MergeCandidate(ids)| ids.iter().map(documents).collect())
            .collect()
    }

    #[test]
    fn g11_a_merge_has_at_most_four_million_documents() {
        assert_eq!(merged(&[(500_000, 0); 7]), [[0; 0]; 0]);
        assert_eq!(merged(&[(500_000, 0); 8]), [[500_000; 8]]);
        assert_eq!(merged(&[(500_000, 0); 23]), [[500_000; 8]; 2]);
        assert_eq!(merged(&[(500_001, 0); 23]), [[0; 0]; 0]);
    }

    #[test]
    fn a_segment_of_many_replaced_documents_is_written_anew() {
        assert_eq!(merged(&[(4_000_000, 1_200_000)]), [[0; 0]; 0]);
        assert_eq!(merged(&[(4_000_000, 1_200_001)]), [[4_000_000]]);
        assert_eq!(merged(&[(20_000, 6_001)]), [[20_000]]);
    }
}
