//! A queue through the entries of a table: it allocates nothing, holds each entry once, and an entry leaves it from anywhere at once.

use slab::Slab;

use super::index::Index;

/// An entry that can wait in a chain.
pub(super) trait Linked<I> {
    fn link(&mut self) -> &mut Link<I>;
}

/// What an entry knows of the chain it waits in.
#[derive(Debug)]
pub(super) struct Link<I> {
    waits: bool,
    before: Option<I>,
    behind: Option<I>,
}

/// First come, first served. All its calls are given the same table.
#[derive(Debug)]
pub(super) struct Chain<I> {
    first: Option<I>,
    last: Option<I>,
    len: u32,
}

impl<I> Default for Link<I> {
    fn default() -> Self {
        Self {
            waits: false,
            before: None,
            behind: None,
        }
    }
}

impl<I: Copy> Link<I> {
    /// What waits next.
    pub(super) fn behind(&self) -> Option<I> {
        self.behind
    }
}

impl<I> Default for Chain<I> {
    fn default() -> Self {
        Self {
            first: None,
            last: None,
            len: 0,
        }
    }
}

impl<I: Index> Chain<I> {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn first(&self) -> Option<I> {
        self.first
    }

    /// Puts an entry at the end, unless it waits already.
    pub(super) fn push<T: Linked<I>>(&mut self, table: &mut Slab<T>, index: I) {
        let link = table[index.place()].link();
        if link.waits {
            return;
        }
        *link = Link {
            waits: true,
            before: self.last,
            behind: None,
        };
        match self.last.replace(index) {
            Some(last) => table[last.place()].link().behind = Some(index),
            None => self.first = Some(index),
        }
        self.len += 1;
    }

    /// Takes the first entry out.
    pub(super) fn pop<T: Linked<I>>(&mut self, table: &mut Slab<T>) -> Option<I> {
        let first = self.first?;
        self.remove(table, first);
        Some(first)
    }

    /// Takes an entry out, if it waits.
    pub(super) fn remove<T: Linked<I>>(&mut self, table: &mut Slab<T>, index: I) {
        let link = std::mem::take(table[index.place()].link());
        if !link.waits {
            return;
        }
        match link.before {
            Some(before) => table[before.place()].link().behind = link.behind,
            None => self.first = link.behind,
        }
        match link.behind {
            Some(behind) => table[behind.place()].link().before = link.before,
            None => self.last = link.before,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Index for usize {
        fn place(self) -> usize {
            self
        }
    }

    #[derive(Default)]
    struct Entry(Link<usize>);

    impl Linked<usize> for Entry {
        fn link(&mut self) -> &mut Link<usize> {
            &mut self.0
        }
    }

    fn table(entries: usize) -> Slab<Entry> {
        let mut table = Slab::new();
        for _ in 0..entries {
            table.insert(Entry::default());
        }
        table
    }

    fn drained(chain: &mut Chain<usize>, table: &mut Slab<Entry>) -> Vec<usize> {
        std::iter::from_fn(|| chain.pop(table)).collect()
    }

    #[test]
    fn first_come_first_served_and_each_once() {
        let (mut table, mut chain) = (table(3), Chain::default());

        for index in [2, 0, 2, 1, 0] {
            chain.push(&mut table, index);
        }

        assert_eq!(chain.len(), 3);
        assert_eq!(drained(&mut chain, &mut table), [2, 0, 1]);
        assert!(chain.is_empty());
    }

    #[test]
    fn an_entry_leaves_from_anywhere_and_may_come_again() {
        for leaving in 0..4 {
            let (mut table, mut chain) = (table(4), Chain::default());
            (0..4).for_each(|index| chain.push(&mut table, index));

            chain.remove(&mut table, leaving);
            chain.remove(&mut table, leaving);
            assert_eq!(chain.len(), 3);
            chain.push(&mut table, leaving);

            let mut expected: Vec<_> = (0..4).filter(|&index| index != leaving).collect();
            expected.push(leaving);
            assert_eq!(drained(&mut chain, &mut table), expected);
        }
    }
}
