//! What stands at the head of a segment: whose it is, and the salt of its checksums.

use std::fmt;

/// `RLCLSEG` and a byte that no text has.
const MAGIC: [u8; 8] = *b"RLCLSEG\x97";
/// The format that this build writes, and the only one it reads.
pub(super) const FORMAT: u16 = 3;
/// Bytes of a header. Those of later formats are as long, with the same magic, format and checksum in the same places.
pub(super) const HEADER_BYTES: usize = 56;

/// The head of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster whose data this is.
    pub cluster: u64,
    /// The core that wrote it.
    pub shard: u16,
    /// Its number among that core's segments; none is used twice.
    pub segment: u64,
    /// Where its checksums start: known to nobody outside, see `Manifest::salt`.
    pub salt: u64,
    /// The life of the machine in which it was written.
    pub boot_id: [u8; 16],
}

/// What a reader knows of a segment before it reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The cluster whose data it must be; nothing for a reader that does not care.
    pub cluster: Option<u64>,
    /// The core in whose directory it is.
    pub shard: u16,
    /// The number in its name.
    pub segment: u64,
    /// Its salt, by the manifest: with it, a segment whose header is damaged is read all the same.
    pub salt: Option<u64>,
}

/// Why a file is not read as a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// It does not begin as one.
    NotASegment,
    /// It begins as one, and the checksum of the header is wrong.
    Damaged,
    /// A build that writes in another form wrote it.
    OtherFormat {
        /// Its format.
        format: u16,
    },
    /// It belongs to another cluster.
    Foreign {
        /// Whose it is.
        cluster: u64,
        /// Whose it should be.
        expected: u64,
    },
    /// It was written under another name, or into another directory.
    Misplaced {
        /// Which core wrote it.
        shard: u16,
        /// Under which number.
        segment: u64,
    },
}

impl Header {
    /// Appends it to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(MAGIC);
        out.extend(FORMAT.to_le_bytes());
        out.extend(self.cluster.to_le_bytes());
        out.extend(self.shard.to_le_bytes());
        out.extend(self.segment.to_le_bytes());
        out.extend(self.salt.to_le_bytes());
        out.extend(self.boot_id);
        out.extend(crc32fast::hash(&out[start..]).to_le_bytes());
        debug_assert_eq!(out.len() - start, HEADER_BYTES);
    }

    /// The header at the head of these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotASegment);
        }
        let header = bytes.first_chunk::<HEADER_BYTES>();
        let header = header.ok_or(HeaderError::Damaged)?;
        let (content, crc) = header
            .split_last_chunk::<4>()
            .expect("a header is longer than its checksum");
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(HeaderError::Damaged);
        }
        let format = u16::from_le_bytes(part(content, 8));
        if format != FORMAT {
            return Err(HeaderError::OtherFormat { format });
        }
        Ok(Self {
            cluster: u64::from_le_bytes(part(content, 10)),
            shard: u16::from_le_bytes(part(content, 18)),
            segment: u64::from_le_bytes(part(content, 20)),
            salt: u64::from_le_bytes(part(content, 28)),
            boot_id: part(content, 36),
        })
    }

    /// Whether this is the segment a reader expects.
    pub fn check(&self, expected: &Expected) -> Result<(), HeaderError> {
        if let Some(cluster) = expected.cluster.filter(|&cluster| cluster != self.cluster) {
            return Err(HeaderError::Foreign {
                cluster: self.cluster,
                expected: cluster,
            });
        }
        let is_in_place = (self.shard, self.segment) == (expected.shard, expected.segment)
            && expected.salt.is_none_or(|salt| salt == self.salt);
        if is_in_place {
            return Ok(());
        }
        Err(HeaderError::Misplaced {
            shard: self.shard,
            segment: self.segment,
        })
    }
}

/// The bytes of a field.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..]
        .first_chunk()
        .expect("every field lies within a header")
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASegment => f.write_str("not a segment of a journal"),
            Self::Damaged => f.write_str("the header of the segment is damaged"),
            Self::OtherFormat { format } => write!(
                f,
                "format {format}, and this build reads {FORMAT}: start the build that wrote it, or move the journal away to \
                 begin without it"
            ),
            Self::Foreign { cluster, expected } => write!(
                f,
                "a segment of cluster {cluster:016x}, not of {expected:016x}: give this node its own data directory"
            ),
            Self::Misplaced { shard, segment } => write!(
                f,
                "written as segment {segment} of core {shard}, in another place: put it back or move it away"
            ),
        }
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            cluster: 0x0123_4567_89ab_cdef,
            shard: 3,
            segment: 77,
            salt: 0x5a17,
            boot_id: *b"0123456789abcdef",
        }
    }

    fn encoded() -> Vec<u8> {
        let mut bytes = Vec::new();
        header().encode(&mut bytes);
        bytes
    }

    #[test]
    fn round_trip() {
        assert_eq!(encoded().len(), HEADER_BYTES);
        assert_eq!(Header::decode(&encoded()), Ok(header()));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error() {
        let bytes = encoded();

        for len in 0..bytes.len() {
            assert!(Header::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_format_is_told_from_damage() {
        let mut bytes = encoded();
        bytes[8] = 4;
        assert_eq!(Header::decode(&bytes), Err(HeaderError::Damaged));

        let crc = crc32fast::hash(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());

        let error = Header::decode(&bytes).unwrap_err();
        assert_eq!(error, HeaderError::OtherFormat { format: 4 });
        assert!(
            error.to_string().contains("start the build that wrote it"),
            "{error}"
        );
    }

    #[test]
    fn what_belongs_elsewhere_is_refused() {
        let expected = Expected {
            cluster: Some(header().cluster),
            shard: 3,
            segment: 77,
            salt: Some(0x5a17),
        };
        let check = |expected| header().check(&expected);

        assert_eq!(check(expected.clone()), Ok(()));
        assert_eq!(
            check(Expected {
                cluster: Some(1),
                ..expected.clone()
            }),
            Err(HeaderError::Foreign {
                cluster: header().cluster,
                expected: 1
            })
        );
        for misplaced in [
            Expected {
                shard: 4,
                ..expected.clone()
            },
            Expected {
                segment: 78,
                ..expected.clone()
            },
            Expected {
                salt: Some(1),
                ..expected
            },
        ] {
            assert_eq!(
                check(misplaced),
                Err(HeaderError::Misplaced {
                    shard: 3,
                    segment: 77
                })
            );
        }
    }
}
