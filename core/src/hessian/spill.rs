//! A growing table whose first entries need no allocation: nearly every message has two classes and a few references.

/// A table that allocates only beyond its first `N` entries.
#[derive(Clone, Debug)]
pub(super) struct Spill<T, const N: usize> {
    first: [Option<T>; N],
    len: usize,
    rest: Vec<T>,
}

impl<T: Copy, const N: usize> Spill<T, N> {
    pub(super) fn new() -> Self {
        Self {
            first: [None; N],
            len: 0,
            rest: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, entry: T) {
        match self.first.get_mut(self.len) {
            Some(place) => *place = Some(entry),
            None => self.rest.push(entry),
        }
        self.len += 1;
    }

    pub(super) fn at(&self, index: usize) -> Option<T> {
        match self.first.get(index) {
            Some(entry) => *entry,
            None => self.rest.get(index - N).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_on_both_sides_of_the_border() {
        let mut table = Spill::<u8, 2>::new();

        for entry in 10..14 {
            table.push(entry);
        }

        let found: Vec<_> = (0..5).map(|index| table.at(index)).collect();
        assert_eq!(found, [Some(10), Some(11), Some(12), Some(13), None]);
        assert_eq!(table.len(), 4);
    }
}
