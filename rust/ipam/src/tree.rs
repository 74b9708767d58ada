//! Where the pages of a pool are, and which of them are full: the inner nodes of the 64-ary tree.

/// Each level below a node takes this many bits of a page's number.
const FANOUT_BITS: u32 = 6;

/// What the tree knows of one page.
pub(crate) enum Slot {
    /// It is held, at this index.
    Held(usize),
    /// It is not held: all free, or not known.
    Absent,
    /// It is not held, and full.
    Full,
}

#[derive(Debug, Clone)]
struct Node {
    children: [u32; 64],
    /// Which children exist.
    present: u64,
    /// Which children have no free bit. On the lowest level a child may be full and not exist: a page in a store.
    full: u64,
    /// Position among the nodes of its level; its low 6 bits are those among its parent's children.
    number: u128,
    level: u32,
    /// The root's is itself.
    parent: u32,
}

impl Node {
    fn new(level: u32, number: u128, parent: usize) -> Self {
        Self {
            children: [0; 64],
            present: 0,
            full: 0,
            number,
            level,
            parent: parent as u32,
        }
    }

    #[inline]
    fn child(&self, digit: usize) -> Option<usize> {
        (self.present >> digit & 1 == 1).then(|| self.children[digit] as usize)
    }

    #[inline]
    fn is_full(&self, digit: usize) -> bool {
        self.full >> digit & 1 == 1
    }
}

/// Nodes exist only above a page that is held or full. They lie side by side; the root is the first and stays.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    page_count: u128,
    levels: u32,
    nodes: Vec<Node>,
    /// The parents of the pages that are held, by the pages' index.
    above: Vec<u32>,
}

impl Tree {
    /// A tree for 2^`page_bits` pages, none of which is held or full.
    pub(crate) fn new(page_bits: u32) -> Self {
        let levels = page_bits.div_ceil(FANOUT_BITS).max(1);
        let mut root = Node::new(levels - 1, 0, 0);
        let top = 1u32 << (page_bits - (levels - 1) * FANOUT_BITS);
        if top < 64 {
            // Pages that do not exist are full: no search stops at them.
            root.full = u64::MAX << top;
        }
        Self {
            page_count: 1 << page_bits,
            levels,
            nodes: vec![root],
            above: Vec::new(),
        }
    }

    pub(crate) fn page_count(&self) -> u128 {
        self.page_count
    }

    #[inline]
    pub(crate) fn slot(&self, page: u128) -> Slot {
        let Some(parent) = self.parent(page) else {
            return Slot::Absent;
        };
        let node = &self.nodes[parent];
        match node.child(low_digit(page)) {
            Some(index) => Slot::Held(index),
            None if node.is_full(low_digit(page)) => Slot::Full,
            None => Slot::Absent,
        }
    }

    /// A page is held from now on; its index is the next one.
    pub(crate) fn hold(&mut self, page: u128) {
        let parent = self.make_parent(page);
        let node = &mut self.nodes[parent];
        node.children[low_digit(page)] = self.above.len() as u32;
        node.present |= 1 << low_digit(page);
        self.above.push(parent as u32);
    }

    /// A page that is not full, at `index`, is held no more; the last page, `moved`, has its index now, if it was not
    /// the last itself. The nodes that have no child left go too.
    pub(crate) fn drop(&mut self, page: u128, index: usize, moved: Option<u128>) {
        let mut at = self.above.swap_remove(index) as usize;
        if let Some(moved) = moved {
            self.nodes[self.above[index] as usize].children[low_digit(moved)] = index as u32;
        }
        self.nodes[at].present &= !(1 << low_digit(page));
        while self.nodes[at].present == 0 && at != 0 {
            let Node { parent, number, .. } = self.nodes[at];
            let parent = parent as usize;
            self.nodes[parent].present &= !(1 << low_digit(number));
            self.nodes.swap_remove(at);
            if at < self.nodes.len() {
                self.moved_to(at);
            }
            // The parent may be the node that moved.
            at = if parent == self.nodes.len() {
                at
            } else {
                parent
            };
        }
        if self.nodes.capacity() > 4 * self.nodes.len() + 4 {
            self.nodes.shrink_to(2 * self.nodes.len());
            self.above.shrink_to(2 * self.above.len());
        }
    }

    /// Tell its parent and its children where a node is now.
    fn moved_to(&mut self, at: usize) {
        let Node {
            children,
            present,
            number,
            level,
            parent,
            ..
        } = self.nodes[at];
        self.nodes[parent as usize].children[low_digit(number)] = at as u32;
        for child in (0..64).filter(|child| present >> child & 1 == 1) {
            let child = children[child] as usize;
            if level > 0 {
                self.nodes[child].parent = at as u32;
            } else {
                self.above[child] = at as u32;
            }
        }
    }

    /// A page that is not held is known to have no free bit.
    pub(crate) fn know_full(&mut self, page: u128) {
        let parent = self.make_parent(page);
        self.spread_full(page, parent);
    }

    /// The page held at `index` has no free bit any more.
    #[inline]
    pub(crate) fn set_full(&mut self, page: u128, index: usize) {
        self.spread_full(page, self.above[index] as usize);
    }

    /// Note it in the page's parent, and further up as long as that makes a node full.
    #[inline]
    fn spread_full(&mut self, page: u128, parent: usize) {
        let (mut number, mut at) = (page, parent);
        loop {
            let node = &mut self.nodes[at];
            node.full |= 1 << low_digit(number);
            if node.full != u64::MAX || at == 0 {
                break;
            }
            (number, at) = (node.number, node.parent as usize);
        }
    }

    /// The page held at `index`, which was full, has a free bit: note it as far up as nodes were full.
    #[inline]
    pub(crate) fn clear_full(&mut self, page: u128, index: usize) {
        let (mut number, mut at) = (page, self.above[index] as usize);
        loop {
            let node = &mut self.nodes[at];
            let was_full = node.full == u64::MAX;
            node.full &= !(1 << low_digit(number));
            if !was_full || at == 0 {
                break;
            }
            (number, at) = (node.number, node.parent as usize);
        }
    }

    /// Which of 64 pages, beginning with `first`, a multiple of 64, are full.
    pub(crate) fn full_word(&self, first: u128) -> u64 {
        let word = self
            .parent(first)
            .map_or(0, |parent| self.nodes[parent].full);
        if self.page_count < 64 {
            word & !(u64::MAX << self.page_count)
        } else {
            word
        }
    }

    /// The first page from `from` on that is not full, and its index if it is held. One word is looked at per level
    /// down, and per level up.
    pub(crate) fn next_open(&self, from: u128) -> Option<(u128, Option<usize>)> {
        if from >= self.page_count {
            return None;
        }
        let (mut at, mut level) = (0, self.levels - 1);
        // Down along `from`, as far as that way is not full.
        loop {
            let node = &self.nodes[at];
            let child = digit(from, level);
            if node.is_full(child) {
                break;
            }
            let below = node.child(child);
            match below {
                Some(below) if level > 0 => at = below,
                _ => return Some((from, below)),
            }
            level -= 1;
        }
        // Up to a later sibling that is not full, then down to the first such page below it.
        loop {
            let node = &self.nodes[at];
            // Shifted twice: a shift by 64 in one go is an overflow.
            let later = !node.full & (u64::MAX << digit(from, level) << 1);
            if later != 0 {
                return Some(self.first_open(at, later));
            }
            if at == 0 {
                return None;
            }
            at = node.parent as usize;
            level += 1;
        }
    }

    /// The first page that is not full below one of the `open` children of a node.
    fn first_open(&self, mut at: usize, mut open: u64) -> (u128, Option<usize>) {
        let Node {
            mut level,
            mut number,
            ..
        } = self.nodes[at];
        loop {
            let child = open.trailing_zeros();
            number = number << FANOUT_BITS | u128::from(child);
            let below = self.nodes[at].child(child as usize);
            match below {
                Some(below) if level > 0 => at = below,
                _ => return (number << (FANOUT_BITS * level), below),
            }
            open = !self.nodes[at].full;
            level -= 1;
        }
    }

    /// The pages that are held (with their index) or known to be full (with None), by number.
    pub(crate) fn known(&self) -> Vec<(u128, Option<usize>)> {
        let mut pages = Vec::new();
        let mut stack = vec![0];
        while let Some(index) = stack.pop() {
            let node = &self.nodes[index];
            if node.level > 0 {
                // The last child is pushed first, so that the first comes off first.
                stack.extend((0..64).rev().filter_map(|child| node.child(child)));
                continue;
            }
            for child in (0..64).filter(|child| (node.present | node.full) >> child & 1 == 1) {
                let page = node.number << FANOUT_BITS | child as u128;
                if page < self.page_count {
                    pages.push((page, node.child(child)));
                }
            }
        }
        pages
    }

    /// The lowest node above a page, where it exists.
    #[inline]
    fn parent(&self, page: u128) -> Option<usize> {
        let mut at = 0;
        for level in (1..self.levels).rev() {
            at = self.nodes[at].child(digit(page, level))?;
        }
        Some(at)
    }

    fn make_parent(&mut self, page: u128) -> usize {
        let mut at = 0;
        for level in (1..self.levels).rev() {
            let child = digit(page, level);
            at = match self.nodes[at].child(child) {
                Some(below) => below,
                None => {
                    let below = self.nodes.len();
                    self.nodes
                        .push(Node::new(level - 1, page >> (FANOUT_BITS * level), at));
                    self.nodes[at].children[child] = below as u32;
                    self.nodes[at].present |= 1 << child;
                    below
                }
            };
        }
        at
    }
}

/// Which child on `level` leads to a page.
#[inline]
fn digit(page: u128, level: u32) -> usize {
    // All digits but an IPv6 pool's highest lie within 64 bits, where a shift is one instruction.
    if level < u64::BITS / FANOUT_BITS {
        (page as u64 >> (FANOUT_BITS * level)) as usize & 63
    } else {
        (page >> (FANOUT_BITS * level)) as usize & 63
    }
}

/// Which of its parent's children a page or node is.
#[inline]
fn low_digit(number: u128) -> usize {
    number as usize & 63
}
