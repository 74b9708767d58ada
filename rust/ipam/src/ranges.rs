//! The place of automatic allocation: a set of ranges of ordinals.

use std::collections::BTreeSet;

/// Ranges of ordinals, sorted, apart from each other, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranges {
    list: Vec<(u128, u128)>,
    size: u128,
}

impl Ranges {
    /// The union of ranges in any order; they may overlap or touch.
    pub(crate) fn union(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut list: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match list.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => list.push((first, last)),
            }
        }
        Self::sorted(list)
    }

    /// What is left of them without some ordinals.
    pub(crate) fn without(&self, ordinals: &BTreeSet<u128>) -> Self {
        let mut list = Vec::with_capacity(self.list.len() + ordinals.len());
        for (first, last) in &self.list {
            let mut from = *first;
            for ordinal in ordinals.range(first..=last) {
                if from < *ordinal {
                    list.push((from, ordinal - 1));
                }
                from = ordinal + 1;
            }
            if from <= *last {
                list.push((from, *last));
            }
        }
        Self::sorted(list)
    }

    fn sorted(list: Vec<(u128, u128)>) -> Self {
        let size = list.iter().map(|(first, last)| last - first + 1).sum();
        Self { list, size }
    }

    /// How many ordinals they hold.
    #[inline]
    pub(crate) fn size(&self) -> u128 {
        self.size
    }

    pub(crate) fn as_slice(&self) -> &[(u128, u128)] {
        &self.list
    }

    /// Position of the first range that does not end before an ordinal.
    #[inline]
    fn at(&self, ordinal: u128) -> usize {
        self.list.partition_point(|range| range.1 < ordinal)
    }

    /// The range that an ordinal lies in, or else the next one; none at all is an empty one.
    pub(crate) fn around(&self, ordinal: u128) -> (u128, u128) {
        self.list
            .get(self.at(ordinal))
            .copied()
            .unwrap_or((u128::MAX, 0))
    }

    /// What they hold from `from` to before `until`, piece by piece, both ends of each included.
    #[inline]
    pub(crate) fn between(
        &self,
        from: u128,
        until: u128,
    ) -> impl Iterator<Item = (u128, u128)> + '_ {
        let pieces = self.list[self.at(from)..].iter();
        pieces
            .take_while(move |range| range.0 < until)
            .filter_map(move |(first, last)| {
                let (first, end) = ((*first).max(from), (last + 1).min(until));
                (first < end).then(|| (first, end - 1))
            })
    }
}

#[cfg(test)]
mod tests;
