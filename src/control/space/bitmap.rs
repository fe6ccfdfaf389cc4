//! A bitmap of pages that grows to the highest page that was ever set.

use super::PageRun;

const WORD: u64 = u64::BITS as u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(super) fn contains(&self, page: u64) -> bool {
        self.words.get(index(page / WORD)).is_some_and(|word| word >> (page % WORD) & 1 == 1)
    }

    /// Whether any page of the run is set.
    pub(super) fn intersects(&self, run: PageRun) -> bool {
        self.first_set(run.first, run.end()).is_some()
    }

    pub(super) fn set(&mut self, run: PageRun) {
        if run.count == 0 {
            return;
        }
        let words = index(run.end().div_ceil(WORD));
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        for (word, mask) in masks(run) {
            self.words[word] |= mask;
        }
    }

    pub(super) fn clear(&mut self, run: PageRun) {
        for (word, mask) in masks(run) {
            if let Some(word) = self.words.get_mut(word) {
                *word &= !mask;
            }
        }
    }

    /// The number of pages that are set.
    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The lowest page in `from..end` that is set.
    pub(super) fn first_set(&self, from: u64, end: u64) -> Option<u64> {
        let end = end.min(self.end());
        if from >= end {
            return None;
        }
        let (first, last) = (index(from / WORD), index((end - 1) / WORD));
        let mut bits = self.words[first] & (u64::MAX << (from % WORD));
        for word in first..=last {
            if word > first {
                bits = self.words[word];
            }
            if bits != 0 {
                let page = word as u64 * WORD + u64::from(bits.trailing_zeros());
                return (page < end).then_some(page);
            }
        }
        None
    }

    /// The lowest page at or above `from` that is not set.
    pub(super) fn first_clear(&self, from: u64) -> u64 {
        if from >= self.end() {
            return from;
        }
        let first = index(from / WORD);
        let mut bits = !self.words[first] & (u64::MAX << (from % WORD));
        for word in first..self.words.len() {
            if word > first {
                bits = !self.words[word];
            }
            if bits != 0 {
                return word as u64 * WORD + u64::from(bits.trailing_zeros());
            }
        }
        self.end()
    }

    /// The page after the highest page below `before` that is set; 0 if there is none.
    pub(super) fn end_of_set_below(&self, before: u64) -> u64 {
        if before == 0 || self.words.is_empty() {
            return 0;
        }
        let last = (before - 1).min(self.end() - 1);
        let first = index(last / WORD);
        let mut bits = self.words[first] & (u64::MAX >> (WORD - 1 - last % WORD));
        for word in (0..=first).rev() {
            if word < first {
                bits = self.words[word];
            }
            if bits != 0 {
                return (word as u64 + 1) * WORD - u64::from(bits.leading_zeros());
            }
        }
        0
    }

    /// The maximal runs of pages that are set, in ascending order.
    pub(super) fn runs(&self) -> impl Iterator<Item = PageRun> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let first = self.first_set(from, u64::MAX)?;
            from = self.first_clear(first);
            Some(PageRun { first, count: from - first })
        })
    }

    /// Every page from here on is clear.
    pub(super) fn end(&self) -> u64 {
        self.words.len() as u64 * WORD
    }
}

/// A place in a table of pages.
pub(super) fn index(page: u64) -> usize {
    usize::try_from(page).expect("a table of pages fits the address space")
}

/// The words that a run touches, each with the bits of the run.
fn masks(run: PageRun) -> impl Iterator<Item = (usize, u64)> {
    let (mut page, end) = (run.first, run.end());
    std::iter::from_fn(move || {
        (page < end).then(|| {
            let (word, bit) = (index(page / WORD), page % WORD);
            let bits = (WORD - bit).min(end - page);
            page += bits;
            (word, (u64::MAX >> (WORD - bits)) << bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmap_agrees_with_a_vector_of_flags() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut bitmap = Bitmap::default();
        let mut flags = vec![false; 300];
        for _ in 0..3000 {
            let first = random.usize(..300);
            let count = random.usize(..=(300 - first).min(130));
            let pages = PageRun { first: first as u64, count: count as u64 };
            let is_set = random.bool();
            flags[first..first + count].fill(is_set);
            if is_set {
                bitmap.set(pages);
            } else {
                bitmap.clear(pages);
            }
            let from = random.usize(..310);
            let end = random.usize(..310);
            let set = |page: &usize| flags.get(*page).copied().unwrap_or(false);
            let found = (from..end).find(set).map(|page| page as u64);
            assert_eq!(bitmap.first_set(from as u64, end as u64), found);
            let clear = (from..).find(|page| !set(page)).map(|page| page as u64);
            assert_eq!(Some(bitmap.first_clear(from as u64)), clear);
            let below = (0..from).rev().find(set).map_or(0, |page| page as u64 + 1);
            assert_eq!(bitmap.end_of_set_below(from as u64), below);
            assert_eq!(bitmap.contains(from as u64), set(&from));
            assert_eq!(bitmap.count(), flags.iter().filter(|flag| **flag).count() as u64);
            let runs: Vec<u64> = bitmap.runs().flat_map(|run| run.first..run.end()).collect();
            assert_eq!(runs, (0..300).filter(|page| flags[index(*page)]).collect::<Vec<u64>>());
            assert!(bitmap.runs().zip(bitmap.runs().skip(1)).all(|(a, b)| a.end() < b.first));
        }
    }
}
