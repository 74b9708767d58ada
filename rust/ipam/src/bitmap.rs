//! The ordinals of one pool: which are in use, and which is the first free one from a given one on.
//!
//! [`Page`]s of 4,096 bits under a 64-ary [`Tree`]. Page and nodes each have one word that says which of their 64
//! parts are full, so a search looks at one word per level: 3 up to 2^18 ordinals, 4 in an IPv4 /8, 19 in an IPv6 /8;
//! and at two alone while it stays in the page of the last operation. Pages and nodes exist only where a bit is set:
//! what is absent is all free, or, where the pages lie in a store, not known yet.

mod stored;

pub use stored::StoredPage;
pub(crate) use stored::{full_pages, SUMMARY_BITS};

use crate::page::{Page, PAGE_BITS, PAGE_ORDINALS};
use crate::tree::{Slot, Tree};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const NO_PAGE: u128 = u128::MAX;

/// The page whose bits an operation needs, and which is in the store. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) u128);

#[derive(Debug, Clone)]
pub(crate) struct Bitmap {
    tree: Tree,
    /// They lie side by side, in no order.
    pages: Vec<Page>,
    /// Ordinals of a page: 4,096, or all of them where there are fewer.
    page_size: u32,
    /// The pages lie in a store: what is absent is not free but unknown.
    backed: bool,
    /// The page of the last operation, and its index.
    hot: (u128, usize),
    dirty_pages: BTreeSet<u128>,
    dirty_summary: BTreeSet<u128>,
    /// The last of them that was noted.
    hot_summary: u128,
}

impl Bitmap {
    /// 2^`bits` free ordinals; `bits` is at most 120.
    pub(crate) fn new(bits: u32) -> Self {
        Self {
            tree: Tree::new(bits.saturating_sub(PAGE_BITS)),
            pages: Vec::new(),
            page_size: 1 << bits.min(PAGE_BITS),
            backed: false,
            hot: (NO_PAGE, 0),
            dirty_pages: BTreeSet::new(),
            dirty_summary: BTreeSet::new(),
            hot_summary: NO_PAGE,
        }
    }

    /// 2^`bits` ordinals whose pages lie in a store; `full` are the numbers of the pages without a free bit.
    pub(crate) fn backed(bits: u32, full: impl Iterator<Item = u128>) -> Self {
        let mut bitmap = Self {
            backed: true,
            ..Self::new(bits)
        };
        full.for_each(|number| bitmap.tree.know_full(number));
        bitmap
    }

    pub(crate) fn page_count(&self) -> u128 {
        self.tree.page_count()
    }

    pub(crate) fn test(&self, ordinal: u128) -> Result<bool, Missing> {
        let (number, bit) = split(ordinal);
        match self.slot(number) {
            Slot::Held(index) => Ok(self.pages[index].test(bit)),
            Slot::Full => Ok(true),
            Slot::Absent if self.backed => Err(Missing(number)),
            Slot::Absent => Ok(false),
        }
    }

    /// Set one bit; false if it was set already.
    pub(crate) fn set(&mut self, ordinal: u128) -> Result<bool, Missing> {
        let (number, bit) = split(ordinal);
        let index = match self.slot(number) {
            Slot::Held(index) => index,
            Slot::Absent => self.make(number)?,
            Slot::Full => return Ok(false),
        };
        self.hot = (number, index);
        let is_free = !self.pages[index].test(bit);
        if is_free {
            self.set_in(index, bit);
        }
        Ok(is_free)
    }

    /// Clear one bit; false if it was clear already. A page left without a set bit goes.
    pub(crate) fn clear(&mut self, ordinal: u128) -> Result<bool, Missing> {
        let (number, bit) = split(ordinal);
        let index = match self.slot(number) {
            Slot::Held(index) => index,
            Slot::Absent if self.backed => return Err(Missing(number)),
            Slot::Absent => return Ok(false),
            Slot::Full => self.insert(Page::all_used(number), true),
        };
        self.hot = (number, index);
        let page = &mut self.pages[index];
        if !page.test(bit) {
            return Ok(false);
        }
        let was_full = page.is_full();
        page.clear(bit);
        let emptied = page.used() == 0;
        self.mark_dirty(index);
        if was_full {
            self.tree.clear_full(number, index);
            self.mark_summary(number);
        }
        // A page that lies in a store is known to be free only while it is held.
        if emptied && !self.backed {
            self.drop_page(index);
        }
        Ok(true)
    }

    /// The same as `take_first`, where the page of the last operation has the answer; None tells nothing.
    #[inline]
    pub(crate) fn take_hot(&mut self, from: u128, until: u128) -> Option<u128> {
        let (number, bit) = split(from);
        if number != self.hot.0 {
            return None;
        }
        let index = self.hot.1;
        let found = self.pages[index].first_free(bit)?;
        let ordinal = join(number, found);
        if ordinal > until {
            return None;
        }
        self.set_in(index, found);
        Some(ordinal)
    }

    /// Set the first free bit from `from` to `until`, both included, and say which it was.
    pub(crate) fn take_first(&mut self, from: u128, until: u128) -> Result<Option<u128>, Missing> {
        let (mut number, mut bit) = split(from);
        while let Some((open, index)) = self.open_page(number, until)? {
            if open != number {
                bit = 0;
            }
            if let Some(found) = self.pages[index].first_free(bit) {
                let ordinal = join(open, found);
                if ordinal > until {
                    break;
                }
                self.set_in(index, found);
                return Ok(Some(ordinal));
            }
            (number, bit) = (open + 1, 0);
        }
        Ok(None)
    }

    /// Set the first `want` free bits from `from` to `until`, both included, whole words at once; how many they were.
    ///
    /// Each piece is the ordinal where a word begins and the bits set in it. Of pages that all are known.
    pub(crate) fn take_many(
        &mut self,
        (from, until): (u128, u128),
        want: u64,
        pieces: &mut Vec<(u128, u64)>,
    ) -> Result<u64, Missing> {
        let (mut number, mut low) = split(from);
        let mut taken = 0;
        while taken < want {
            let Some((open, index)) = self.open_page(number, until)? else {
                break;
            };
            if open != number {
                low = 0;
            }
            taken += self.take_in_page(index, low..=high_bit(open, until), want - taken, pieces);
            (number, low) = (open + 1, 0);
        }
        Ok(taken)
    }

    fn take_in_page(
        &mut self,
        index: usize,
        bits: RangeInclusive<u32>,
        want: u64,
        pieces: &mut Vec<(u128, u64)>,
    ) -> u64 {
        let (low, high) = bits.into_inner();
        let page = &mut self.pages[index];
        let number = page.number;
        let mut taken = 0;
        for word in low >> 6..=high >> 6 {
            let mut mask = page.free_in_word(word, low, high);
            let mut count = mask.count_ones();
            if u64::from(count) > want - taken {
                count = (want - taken) as u32;
                mask = lowest(mask, count);
            }
            if mask != 0 {
                page.set_word(word, mask, count);
                pieces.push((join(number, word << 6), mask));
                taken += u64::from(count);
            }
            if taken == want {
                break;
            }
        }
        if taken > 0 {
            self.after_set(index);
        }
        taken
    }

    /// Free bits from `from` to `until`, both included, counted page by page until there are `enough`. Of pages that all
    /// are known.
    pub(crate) fn count_free(&self, (from, until): (u128, u128), enough: u64) -> u64 {
        let (mut number, mut low) = split(from);
        let mut free = 0;
        while free < enough {
            let Some((open, index)) = self.find_open(number, until) else {
                break;
            };
            if open != number {
                low = 0;
            }
            let high = high_bit(open, until);
            free += u64::from(match index {
                Some(index) => self.pages[index].count_free(low, high),
                None => high + 1 - low,
            });
            (number, low) = (open + 1, 0);
        }
        free
    }

    #[inline]
    fn slot(&self, number: u128) -> Slot {
        if number == self.hot.0 {
            return Slot::Held(self.hot.1);
        }
        self.tree.slot(number)
    }

    /// The first page from `number` on that is not full and does not lie beyond the ordinal `until`; its index, if held.
    fn find_open(&self, number: u128, until: u128) -> Option<(u128, Option<usize>)> {
        self.tree
            .next_open(number)
            .filter(|(open, _)| join(*open, 0) <= until)
    }

    /// The same, made where it is not held.
    fn open_page(&mut self, number: u128, until: u128) -> Result<Option<(u128, usize)>, Missing> {
        let Some((open, index)) = self.find_open(number, until) else {
            return Ok(None);
        };
        let index = match index {
            Some(index) => index,
            None => self.make(open)?,
        };
        self.hot = (open, index);
        Ok(Some((open, index)))
    }

    /// Make a page that is absent.
    fn make(&mut self, number: u128) -> Result<usize, Missing> {
        if self.backed {
            return Err(Missing(number));
        }
        // What is dirty and gone is still in the store.
        let stored = self.dirty_pages.contains(&number);
        Ok(self.insert(Page::empty(number, self.page_size), stored))
    }

    /// Hold a page; `stored`: the store has one of its number.
    fn insert(&mut self, mut page: Page, stored: bool) -> usize {
        page.stored = stored;
        let index = self.pages.len();
        if index == self.pages.capacity() {
            // Half as many again, and never room for more pages than the pool has.
            let most = usize::try_from(self.page_count()).unwrap_or(usize::MAX);
            self.pages.reserve_exact((index / 2 + 1).min(most - index));
        }
        self.tree.hold(page.number);
        self.pages.push(page);
        index
    }

    fn drop_page(&mut self, index: usize) {
        self.hot = (NO_PAGE, 0);
        let page = self.pages.swap_remove(index);
        if !page.stored {
            self.dirty_pages.remove(&page.number);
        }
        let moved = self.pages.get(index).map(|moved| moved.number);
        self.tree.drop(page.number, index, moved);
        if self.pages.capacity() > 4 * self.pages.len() + 4 {
            self.pages.shrink_to(2 * self.pages.len());
        }
    }

    #[inline]
    fn set_in(&mut self, index: usize, bit: u32) {
        self.pages[index].set(bit);
        self.after_set(index);
    }

    /// Note what follows from bits having been set in a page that was not full.
    #[inline]
    fn after_set(&mut self, index: usize) {
        self.mark_dirty(index);
        if self.pages[index].is_full() {
            let number = self.pages[index].number;
            self.tree.set_full(number, index);
            self.mark_summary(number);
        }
    }

    fn mark_summary(&mut self, number: u128) {
        let summary = number >> SUMMARY_BITS;
        if summary != self.hot_summary {
            self.hot_summary = summary;
            self.dirty_summary.insert(summary);
        }
    }

    #[inline]
    fn mark_dirty(&mut self, index: usize) {
        if !self.pages[index].dirty {
            self.mark_dirty_first(index);
        }
    }

    #[cold]
    fn mark_dirty_first(&mut self, index: usize) {
        self.pages[index].dirty = true;
        self.dirty_pages.insert(self.pages[index].number);
    }
}

#[inline]
fn split(ordinal: u128) -> (u128, u32) {
    (ordinal >> PAGE_BITS, ordinal as u32 & (PAGE_ORDINALS - 1))
}

#[inline]
fn join(number: u128, bit: u32) -> u128 {
    number << PAGE_BITS | u128::from(bit)
}

/// The last bit of a page that does not lie beyond the ordinal `until`.
#[inline]
fn high_bit(number: u128, until: u128) -> u32 {
    let (last, bit) = split(until);
    if number == last {
        bit
    } else {
        PAGE_ORDINALS - 1
    }
}

/// The `count` lowest of the bits set in `mask`.
fn lowest(mask: u64, count: u32) -> u64 {
    let mut rest = mask;
    for _ in 0..count {
        rest &= rest - 1;
    }
    mask ^ rest
}
