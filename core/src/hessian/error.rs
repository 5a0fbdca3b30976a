//! Why bytes are no Hessian value, with the place.

use std::fmt;

/// What is wrong with a Hessian body, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`at` is the same everywhere: the offset in the body"
)]
pub enum HessianError {
    /// The body ends in the middle of a value.
    End { at: usize, need: usize, have: usize },
    /// No value begins with this byte in the 3.x dialect.
    UnknownTag { at: usize, tag: u8 },
    /// A value of another type stands where `wanted` belongs.
    Unexpected {
        at: usize,
        tag: u8,
        wanted: &'static str,
    },
    /// A byte of a text is not what the 1 to 3 bytes of a UTF-16 unit allow.
    BadText { at: usize, byte: u8 },
    /// A length or count is negative, or larger than what could still follow.
    BadLength {
        at: usize,
        what: &'static str,
        length: i64,
        limit: usize,
    },
    /// An index points behind the end of its table.
    BadIndex {
        at: usize,
        table: &'static str,
        index: i64,
        len: usize,
    },
    /// Lists, maps or objects are nested too deep.
    TooDeep { at: usize, limit: usize },
    /// The body has too many values.
    TooManyValues { at: usize, limit: usize },
    /// The body has too many class definitions.
    TooManyClasses { at: usize, limit: usize },
    /// References repeat more bytes than a body may have.
    TooMuchRepeated { at: usize, limit: usize },
}

impl HessianError {
    /// The byte of the body at which the fault was found.
    pub fn offset(&self) -> usize {
        match *self {
            Self::End { at, .. }
            | Self::UnknownTag { at, .. }
            | Self::Unexpected { at, .. }
            | Self::BadText { at, .. }
            | Self::BadLength { at, .. }
            | Self::BadIndex { at, .. }
            | Self::TooDeep { at, .. }
            | Self::TooManyValues { at, .. }
            | Self::TooManyClasses { at, .. }
            | Self::TooMuchRepeated { at, .. } => at,
        }
    }
}

impl fmt::Display for HessianError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::End { need, have, .. } => {
                write!(f, "end of data: need {need} bytes, have {have}")
            }
            Self::UnknownTag { tag, .. } => write!(f, "unknown tag {tag:#04x}"),
            Self::Unexpected { tag, wanted, .. } => write!(f, "tag {tag:#04x} instead of {wanted}"),
            Self::BadText { byte, .. } => write!(
                f,
                "byte {byte:#04x} in a text: not UTF-16 in 1 to 3 bytes a unit"
            ),
            Self::BadLength {
                what,
                length,
                limit,
                ..
            } => write!(f, "{what} {length}: must be 0 to {limit}"),
            Self::BadIndex {
                table, index, len, ..
            } => write!(f, "{table} {index} of {len}"),
            Self::TooDeep { limit, .. } => write!(f, "values nested deeper than {limit}"),
            Self::TooManyValues { limit, .. } => write!(f, "more than {limit} values"),
            Self::TooManyClasses { limit, .. } => write!(f, "more than {limit} class definitions"),
            Self::TooMuchRepeated { limit, .. } => {
                write!(f, "references repeat more than {limit} bytes")
            }
        }?;
        write!(f, " at offset {}", self.offset())
    }
}

impl std::error::Error for HessianError {}
