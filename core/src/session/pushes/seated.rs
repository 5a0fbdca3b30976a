//! How many subscribers and configurators there are, kept while they come and go, so that nobody has to count them.

/// Those of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Seated {
    pub(in crate::session) subscribers: usize,
    pub(in crate::session) configurators: usize,
}

impl Seated {
    pub(super) fn add(&mut self, are_configurators: bool, count: usize) {
        *self.of(are_configurators) += count;
    }

    pub(super) fn take(&mut self, were_configurators: bool, count: usize) {
        *self.of(were_configurators) -= count;
    }

    fn of(&mut self, configurators: bool) -> &mut usize {
        match configurators {
            true => &mut self.configurators,
            false => &mut self.subscribers,
        }
    }
}
