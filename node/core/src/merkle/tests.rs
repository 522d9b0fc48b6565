//! The lazy sparse tree against one built whole.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn leaf_hash(content: u8) -> Hash {
    if content == 0 { EMPTY } else { blake3::hash(&[content]).into() }
}

/// Every level of the tree over these leaves, the root first.
fn build(leaves: &[u8]) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves.iter().map(|&content| leaf_hash(content)).collect::<Vec<Hash>>()];
    while levels[0].len() > 1 {
        let parents = levels[0]
            .chunks(2)
            .map(|pair| if pair == [EMPTY, EMPTY] { EMPTY } else { blake3::hash(&pair.concat()).into() });
        let parents = parents.collect();
        levels.insert(0, parents);
    }
    levels
}

#[test]
fn only_marked_leaves_are_hashed_again() {
    let mut tree = MerkleTree::new(3);
    for leaf in [2, 7, 2] {
        tree.mark_dirty(leaf);
    }
    assert_eq!(tree.dirty_count(), 2);
    let mut asked = Vec::new();
    tree.refresh(|leaf| {
        asked.push(leaf);
        leaf_hash(1)
    });
    assert_eq!(asked, [2, 7]);
    tree.refresh(|leaf| panic!("leaf {leaf} was asked for again"));
}

#[test]
fn there_are_no_nodes_outside_the_tree() {
    let tree = MerkleTree::new(2);
    assert_eq!(tree.hash(0, 0), Some(EMPTY));
    assert_eq!(tree.hash(2, 3), Some(EMPTY));
    assert_eq!(tree.hash(2, 4), None);
    assert_eq!(tree.hash(0, 1), None);
    assert_eq!(tree.hash(3, 0), None);
    assert_eq!(tree.hash(200, u32::MAX), None);
}

#[test]
fn a_leaf_that_is_empty_again_leaves_nothing_behind() {
    let mut tree = MerkleTree::new(16);
    tree.mark_dirty(12_345);
    tree.refresh(|_| leaf_hash(1));
    assert_eq!(tree.hashes.len(), 17);
    tree.mark_dirty(12_345);
    tree.refresh(|_| EMPTY);
    assert!(tree.hashes.is_empty());
}

#[test]
#[should_panic(expected = "before it was refreshed")]
fn a_tree_with_dirty_leaves_gives_no_hash() {
    let mut tree = MerkleTree::new(1);
    tree.mark_dirty(0);
    tree.hash(0, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hashes_are_those_of_a_tree_built_whole(
        depth in 0_u8..7, writes in prop::collection::vec((any::<u32>(), 0_u8..3, any::<bool>()), 0..60),
    ) {
        let mut tree = MerkleTree::new(depth);
        let mut leaves = vec![0; 1 << depth];
        for (place, content, refresh) in writes {
            let leaf = place % (1 << depth);
            leaves[leaf as usize] = content;
            tree.mark_dirty(leaf);
            if refresh {
                tree.refresh(|leaf| leaf_hash(leaves[leaf as usize]));
            }
        }
        tree.refresh(|leaf| leaf_hash(leaves[leaf as usize]));
        for (level, hashes) in (0..).zip(build(&leaves)) {
            for (position, hash) in (0..).zip(hashes) {
                prop_assert_eq!(tree.hash(level, position), Some(hash), "level {} position {}", level, position);
            }
        }
    }
}
