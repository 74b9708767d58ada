//! A bitmap's pages as a store or a snapshot has them.

use super::{join, split, Bitmap, NO_PAGE};
use crate::page::{words_of, Page, PAGE_BITS, PAGE_BYTES, PAGE_ORDINALS};
use crate::tree::Slot;

/// A summary page has one bit for each of 4,096 pages.
pub(crate) const SUMMARY_BITS: u32 = PAGE_BITS;

/// One page as it is stored: its number, and its bits; None where nothing is to be stored (any more).
pub type StoredPage = (u128, Option<[u8; PAGE_BYTES]>);

impl Bitmap {
    /// Bits set in the pages that are held or known to be full.
    pub(crate) fn known_used(&self) -> u128 {
        let in_page = |index: Option<usize>| {
            index.map_or(self.page_size, |index| self.used_in(&self.pages[index]))
        };
        self.tree
            .known()
            .into_iter()
            .map(|(_, index)| u128::from(in_page(index)))
            .sum()
    }

    /// The pages that are held or known to be full: the first ordinal of each.
    pub(crate) fn known(&self) -> impl Iterator<Item = u128> {
        self.tree
            .known()
            .into_iter()
            .map(|(number, _)| join(number, 0))
    }

    /// Bits set from `from` to `until`, both included, in one page that is known.
    pub(crate) fn known_used_between(&self, from: u128, until: u128) -> u32 {
        let ((number, low), (_, high)) = (split(from), split(until));
        match self.slot(number) {
            Slot::Held(index) => high + 1 - low - self.pages[index].count_free(low, high),
            Slot::Full => high + 1 - low,
            Slot::Absent => 0,
        }
    }

    /// Whether a page is held or known to be full.
    pub(crate) fn is_known(&self, number: u128) -> bool {
        !matches!(self.slot(number), Slot::Absent)
    }

    /// Take over a page from a store; None is one without a set bit. A page that is known stays as it is.
    ///
    /// False, and nothing is changed, where it is full though the summary did not say so, or has bits beyond the pool.
    pub(crate) fn provide(&mut self, number: u128, bytes: Option<&[u8; PAGE_BYTES]>) -> bool {
        if self.is_known(number) {
            return true;
        }
        let page = match bytes {
            None => Some(Page::empty(number, self.page_size)),
            Some(bytes) => Page::from_bytes(bytes, number, self.page_size),
        };
        match page.filter(|page| !page.is_full()) {
            Some(page) => {
                self.insert(page, bytes.is_some());
                true
            }
            None => false,
        }
    }

    /// Every page that has a bit set, of a bitmap whose pages do not lie in a store.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u128, [u8; PAGE_BYTES])> + '_ {
        let held = self.tree.known().into_iter();
        held.filter_map(|(number, index)| {
            let page = &self.pages[index?];
            (self.used_in(page) > 0).then(|| (number, page.to_bytes(self.page_size)))
        })
    }

    /// Add such a page. False, and nothing is changed, where it is there already, or cannot be one of this bitmap.
    pub(crate) fn add(&mut self, number: u128, bytes: &[u8; PAGE_BYTES]) -> bool {
        if number >= self.page_count() || self.is_known(number) {
            return false;
        }
        let Some(page) = Page::from_bytes(bytes, number, self.page_size) else {
            return false;
        };
        let index = self.insert(page, false);
        self.after_set(index);
        true
    }

    /// The pages and summary pages that differ from what is stored. From now on they count as stored.
    pub(crate) fn changes(&mut self) -> (Vec<StoredPage>, Vec<StoredPage>) {
        let mut pages = Vec::with_capacity(self.dirty_pages.len());
        for number in std::mem::take(&mut self.dirty_pages) {
            let bytes = match self.slot(number) {
                Slot::Held(index) => {
                    let bytes = (self.used_in(&self.pages[index]) > 0)
                        .then(|| self.pages[index].to_bytes(self.page_size));
                    self.pages[index].dirty = false;
                    self.pages[index].stored = bytes.is_some();
                    bytes
                }
                Slot::Full => Some(Page::all_used(number).to_bytes(self.page_size)),
                Slot::Absent => None,
            };
            pages.push((number, bytes));
        }
        self.hot_summary = NO_PAGE;
        let summary = std::mem::take(&mut self.dirty_summary).into_iter();
        let summary = summary.map(|number| (number, self.summary_page(number)));
        (pages, summary.collect())
    }

    fn summary_page(&self, number: u128) -> Option<[u8; PAGE_BYTES]> {
        let mut bytes = [0; PAGE_BYTES];
        let mut first = number << SUMMARY_BITS;
        for chunk in bytes.chunks_exact_mut(8) {
            if first < self.page_count() {
                chunk.copy_from_slice(&self.tree.full_word(first).to_le_bytes());
            }
            first += 64;
        }
        bytes.iter().any(|byte| *byte != 0).then_some(bytes)
    }

    /// Bits set of ordinals that exist.
    fn used_in(&self, page: &Page) -> u32 {
        page.used() - (PAGE_ORDINALS - self.page_size)
    }
}

/// The numbers of the pages that a stored summary page says are full.
pub(crate) fn full_pages(number: u128, bytes: &[u8; PAGE_BYTES]) -> impl Iterator<Item = u128> {
    let first = number << SUMMARY_BITS;
    words_of(bytes)
        .into_iter()
        .enumerate()
        .flat_map(move |(i, word)| {
            let base = first + i as u128 * 64;
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| base + bit)
        })
}
