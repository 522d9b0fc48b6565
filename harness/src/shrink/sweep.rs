//! Taking chunks out of a list, the larger ones first: the complements of delta debugging, without its restarts.

/// Takes away from `count` things what can be taken away. `first` is asked with chunks of positions (among those left, each
/// chunk in order) and answers which of them, the first in order, can go; it has taken that one out then. Returns how many
/// things are left. With a chunk size of one at the end, none of what is left could be taken out by itself when it was
/// tried last.
pub(super) fn sweep(count: usize, mut first: impl FnMut(&[std::ops::Range<usize>]) -> Option<usize>) -> usize {
    let mut left = count;
    let mut size = left;
    while size > 0 && left > 0 {
        let mut from = 0;
        loop {
            let chunks: Vec<_> = (from..left).step_by(size).map(|at| at..left.min(at + size)).collect();
            let Some(gone) = first(&chunks) else { break };
            left -= chunks[gone].len();
            // The next chunk has moved to where this one was.
            from = chunks[gone].start;
            if from >= left {
                break;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2).min(left.max(1)) };
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sweeps a list that must keep `needed`; what is left, and how many chunks were tried.
    fn swept(count: usize, needed: &[usize]) -> (Vec<usize>, usize) {
        let mut list: Vec<usize> = (0..count).collect();
        let mut tried = 0;
        let left = sweep(count, |chunks| {
            let position = chunks.iter().position(|chunk| {
                tried += 1;
                !list[chunk.clone()].iter().any(|item| needed.contains(item))
            })?;
            list.drain(chunks[position].clone());
            Some(position)
        });
        assert_eq!(left, list.len());
        (list, tried)
    }

    #[test]
    fn what_is_needed_stays_and_nothing_else() {
        for (count, needed) in [
            (0, &[][..]),
            (1, &[]),
            (1, &[0]),
            (7, &[3]),
            (8, &[0, 7]),
            (1_000, &[17, 18, 500, 999]),
            (5, &[0, 1, 2, 3, 4]),
        ] {
            assert_eq!(swept(count, needed).0, needed, "{count} things");
        }
    }

    #[test]
    fn few_of_many_are_found_in_few_tries() {
        let (_, tried) = swept(30_000, &[100, 15_000, 29_000]);
        assert!(tried < 150, "{tried} tries");
    }
}
