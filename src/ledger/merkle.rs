//! The Merkle tree over the frames of a log stream: the shape of RFC 6962 (section 2.1), hashed with BLAKE3.
//!
//! A leaf is `BLAKE3["metadsl 2026 leaf"](payload)`, a node `BLAKE3["metadsl 2026 node"](left, right)`; the tree over
//! n leaves splits at the largest power of two below n.

use std::sync::LazyLock;

use crate::hash::Id;

// The keys are derived once: a log of ten thousand frames has twice as many hashes.
static LEAF: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("metadsl 2026 leaf"));
static NODE: LazyLock<blake3::Hasher> = LazyLock::new(|| blake3::Hasher::new_derive_key("metadsl 2026 node"));

/// The hash of a frame's payload.
pub fn leaf(payload: &[u8]) -> Id {
    Id::from_bytes(*LEAF.clone().update(payload).finalize().as_bytes())
}

fn node(left: Id, right: Id) -> Id {
    Id::from_bytes(*NODE.clone().update(left.as_bytes()).update(right.as_bytes()).finalize().as_bytes())
}

/// The largest power of two below `len`, which is at least 2.
fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}

/// The root over some leaves.
pub fn root(leaves: &[Id]) -> Id {
    match leaves {
        [] => Id::from_bytes(*NODE.finalize().as_bytes()),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(root(left), root(right))
        }
    }
}

/// The audit path of leaf `index`, from the bottom (RFC 6962, section 2.1.1).
pub fn inclusion(leaves: &[Id], index: usize) -> Vec<Id> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (inclusion(left, index), root(right)),
        Some(index) => (inclusion(right, index), root(left)),
    };
    path.push(beside);
    path
}

/// Whether the path leads from the leaf at `index` of `size` leaves to the root.
pub fn verify_inclusion(leaf: Id, index: u64, size: u64, path: &[Id], wanted: Id) -> bool {
    fn climb(leaf: Id, index: u64, size: u64, path: &[Id]) -> Option<Id> {
        let Some((beside, below)) = path.split_last() else { return (size == 1).then_some(leaf) };
        let left = 1u64.checked_shl(63 - size.checked_sub(1).filter(|&n| n > 0)?.leading_zeros())?;
        Some(if index < left {
            node(climb(leaf, index, left, below)?, *beside)
        } else {
            node(*beside, climb(leaf, index - left, size - left, below)?)
        })
    }
    index < size && climb(leaf, index, size, path) == Some(wanted)
}

/// The proof that the tree over the first `old` leaves is a beginning of this one (RFC 6962, section 2.1.2).
pub fn consistency(leaves: &[Id], old: usize) -> Vec<Id> {
    fn walk(leaves: &[Id], old: usize, whole: bool) -> Vec<Id> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            let mut proof = walk(left, old, whole);
            proof.push(root(right));
            proof
        } else {
            let mut proof = walk(right, old - left.len(), false);
            proof.push(root(left));
            proof
        }
    }
    if old == 0 { Vec::new() } else { walk(leaves, old, true) }
}

/// Whether the proof shows that the tree of `old` leaves with root `before` is a beginning of that of `size` leaves
/// with root `after`.
pub fn verify_consistency(old: u64, before: Id, size: u64, after: Id, proof: &[Id]) -> bool {
    /// The roots of the old and of the new tree that the proof gives; `known` is the old root where the old tree is whole.
    fn climb(old: u64, size: u64, known: Option<Id>, proof: &[Id]) -> Option<(Id, Id)> {
        if old == size {
            return match (known, proof) {
                (Some(known), []) => Some((known, known)),
                (None, [root]) => Some((*root, *root)),
                _ => None,
            };
        }
        let (last, rest) = proof.split_last()?;
        let left = 1u64.checked_shl(63 - (size - 1).leading_zeros())?;
        if old <= left {
            let (before, after) = climb(old, left, known, rest)?;
            Some((before, node(after, *last)))
        } else {
            let (before, after) = climb(old - left, size - left, None, rest)?;
            Some((node(*last, before), node(*last, after)))
        }
    }
    match old {
        0 => before == root(&[]) && proof.is_empty(),
        _ => old <= size && climb(old, size, Some(before), proof) == Some((before, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Id> {
        (0..count).map(|i| leaf(&[i])).collect()
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_and_no_other() {
        for size in 1..=20u8 {
            let all = leaves(size);
            let top = root(&all);
            for index in 0..size {
                let path = inclusion(&all, usize::from(index));
                let proved = |leaf, index: u64, size: u64, path: &[Id]| verify_inclusion(leaf, index, size, path, top);
                let at = usize::from(index);
                assert!(proved(all[at], index.into(), size.into(), &path), "{index} of {size}");
                for other in (0..size).filter(|&other| other != index) {
                    assert!(!proved(all[usize::from(other)], index.into(), size.into(), &path));
                    assert!(!proved(all[at], other.into(), size.into(), &path));
                }
                assert!(!proved(all[at], size.into(), size.into(), &path));
                for cut in 0..path.len() {
                    assert!(!proved(all[at], index.into(), size.into(), &path[..cut]));
                }
                assert!(!proved(all[at], index.into(), size.into(), &[&path[..], &[top]].concat()));
            }
        }
    }

    #[test]
    fn every_beginning_is_proved_and_a_fork_is_not() {
        for size in 0..=20u8 {
            let all = leaves(size);
            for old in 0..=size {
                let (n, m) = (u64::from(old), u64::from(size));
                let before = root(&all[..old.into()]);
                let proof = consistency(&all, old.into());
                assert!(verify_consistency(n, before, m, root(&all), &proof), "{old} of {size}");
                let mut forked = all.clone();
                if let Some(leaf) = forked[..old.into()].last_mut() {
                    *leaf = Id::from_bytes([9; 32]);
                    let proof = consistency(&forked, old.into());
                    assert!(!verify_consistency(n, before, m, root(&forked), &proof), "{old} of {size}");
                }
                assert!(!verify_consistency(m + 1, before, m, root(&all), &proof));
            }
        }
    }

    #[test]
    fn the_shape_is_that_of_rfc_6962() {
        let [a, b, c] = [0, 1, 2].map(|i| leaf(&[i]));
        assert_eq!(root(&[a, b, c]), node(node(a, b), c));
        assert_eq!(inclusion(&[a, b, c], 2), [node(a, b)]);
        assert_eq!(root(&leaves(3)).to_string(), "cfb5feb5e3556f9c58467d45b559deb224d42b2b6944fbaddb0e2aa4c9881220");
    }
}
