//! One page: the bits of 4,096 ordinals, 512 bytes, the unit in which a pool is stored.

/// How many low bits of an ordinal say where in its page it is.
pub const PAGE_BITS: u32 = 12;
/// Ordinals per page.
pub const PAGE_ORDINALS: u32 = 1 << PAGE_BITS;
/// Bytes of a stored page.
pub const PAGE_BYTES: usize = PAGE_ORDINALS as usize / 8;
const WORDS: usize = PAGE_ORDINALS as usize / 64;

/// 4,096 bits and a word that says which of their 64 words are full. A set bit is an address in use.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    words: [u64; WORDS],
    full: u64,
    used: u32,
    /// Position among the pages of the pool: page n holds the ordinals 4096 n to 4096 n + 4095.
    pub(crate) number: u128,
    /// It differs from what is stored.
    pub(crate) dirty: bool,
    /// Something is stored under its number, so that its end must be told.
    pub(crate) stored: bool,
}

impl Page {
    /// A page whose ordinals from `size` on do not exist: they count as used here and are never shown outside.
    pub(crate) fn empty(number: u128, size: u32) -> Self {
        Self::from_words([0; WORDS], number, size)
    }

    pub(crate) fn all_used(number: u128) -> Self {
        Self::from_words([u64::MAX; WORDS], number, PAGE_ORDINALS)
    }

    /// The page of stored bytes; None where a bit beyond `size` is set.
    pub(crate) fn from_bytes(bytes: &[u8; PAGE_BYTES], number: u128, size: u32) -> Option<Self> {
        let words = words_of(bytes);
        let sound = (0..WORDS).all(|w| words[w] & beyond(w, size) == 0);
        sound.then(|| Self::from_words(words, number, size))
    }

    fn from_words(mut words: [u64; WORDS], number: u128, size: u32) -> Self {
        let mut full = 0;
        for (w, word) in words.iter_mut().enumerate() {
            *word |= beyond(w, size);
            full |= u64::from(*word == u64::MAX) << w;
        }
        let used = words.iter().map(|word| word.count_ones()).sum();
        Self {
            words,
            full,
            used,
            number,
            dirty: false,
            stored: false,
        }
    }

    /// Least significant bit of each byte first; the bits of ordinals that do not exist are 0.
    pub(crate) fn to_bytes(&self, size: u32) -> [u8; PAGE_BYTES] {
        let mut bytes = [0; PAGE_BYTES];
        for (w, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&(self.words[w] & !beyond(w, size)).to_le_bytes());
        }
        bytes
    }

    /// Bits set, those of ordinals that do not exist included.
    #[inline]
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.full == u64::MAX
    }

    #[inline]
    pub(crate) fn test(&self, bit: u32) -> bool {
        self.words[(bit >> 6) as usize] >> (bit & 63) & 1 == 1
    }

    /// The lowest free bit from `from` on: two words are looked at, whatever the page holds.
    #[inline]
    pub(crate) fn first_free(&self, from: u32) -> Option<u32> {
        let word = from >> 6;
        let free = !self.words[word as usize] & (u64::MAX << (from & 63));
        if free != 0 {
            return Some(word << 6 | free.trailing_zeros());
        }
        // Shifted twice: a shift by 64 in one go is an overflow.
        let rest = !self.full & (u64::MAX << word << 1);
        if rest == 0 {
            return None;
        }
        let word = rest.trailing_zeros();
        Some(word << 6 | (!self.words[word as usize]).trailing_zeros())
    }

    /// Set a bit that is clear.
    #[inline]
    pub(crate) fn set(&mut self, bit: u32) {
        self.set_word(bit >> 6, 1 << (bit & 63), 1);
    }

    /// Set the `count` bits of `mask`, all clear before, in one word.
    #[inline]
    pub(crate) fn set_word(&mut self, word: u32, mask: u64, count: u32) {
        let bits = &mut self.words[word as usize];
        *bits |= mask;
        self.used += count;
        if *bits == u64::MAX {
            self.full |= 1 << word;
        }
    }

    /// Clear a bit that is set.
    #[inline]
    pub(crate) fn clear(&mut self, bit: u32) {
        self.words[(bit >> 6) as usize] &= !(1 << (bit & 63));
        self.full &= !(1 << (bit >> 6));
        self.used -= 1;
    }

    /// Free bits of one word between the bits `from` and `until` of the page, both included.
    #[inline]
    pub(crate) fn free_in_word(&self, word: u32, from: u32, until: u32) -> u64 {
        let mut free = !self.words[word as usize];
        if word == from >> 6 {
            free &= u64::MAX << (from & 63);
        }
        if word == until >> 6 {
            free &= u64::MAX >> (63 - (until & 63));
        }
        free
    }

    /// Free bits between `from` and `until`, both included.
    pub(crate) fn count_free(&self, from: u32, until: u32) -> u32 {
        if from == 0 && until == PAGE_ORDINALS - 1 {
            return PAGE_ORDINALS - self.used;
        }
        (from >> 6..=until >> 6)
            .map(|word| self.free_in_word(word, from, until).count_ones())
            .sum()
    }
}

/// The bits of a word whose ordinals are `size` or more.
fn beyond(word: usize, size: u32) -> u64 {
    let first = word as u32 * 64;
    match size.saturating_sub(first) {
        0 => u64::MAX,
        held @ 1..=63 => u64::MAX << held,
        _ => 0,
    }
}

/// The 64 words of stored bytes, which are little-endian.
pub(crate) fn words_of(bytes: &[u8; PAGE_BYTES]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut piece = [0; 8];
        piece.copy_from_slice(chunk);
        *word = u64::from_le_bytes(piece);
    }
    words
}
