//! Places in the tables of a session core, each table with a type of its own: a number of one is never taken for that of another.

use std::num::NonZeroU32;

/// Names the entries of a table.
pub(in crate::session) trait Index: Copy {
    /// Where the table has it.
    fn place(self) -> usize;
}

/// Declares the index of one table. It is one more than the place, so that an absent one takes no room of its own.
macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(in crate::session) struct $name(NonZeroU32);

        impl $name {
            pub(in crate::session) fn of(place: usize) -> Self {
                let number = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
                Self(number.expect("memory ends before this many entries"))
            }

        }

        impl Index for $name {
            fn place(self) -> usize {
                self.0.get() as usize - 1
            }
        }
    };
}

index!(
    /// A connection.
    ConnectionIndex
);
index!(
    /// A part of a datum that somebody here subscribes to.
    TopicIndex
);
index!(
    /// Subscribers of one connection that get the same bytes.
    GroupIndex
);
index!(
    /// A push on its way.
    PushIndex
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_index_takes_no_room() {
        assert_eq!(size_of::<Option<GroupIndex>>(), size_of::<u32>());
        assert_eq!([0, 7].map(|place| GroupIndex::of(place).place()), [0, 7]);
    }
}
