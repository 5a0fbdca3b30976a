//! The two small files that say which others count: which era is the truth, and which segments of a shard are live.
//!
//! Each is replaced as a whole. Every truncation and every flipped bit of them is noticed.

use std::fmt;

use super::segment::Header;
use crate::names::{mix, unmix};

const MANIFEST_MAGIC: [u8; 8] = *b"RLCLMAN\x97";
const CURRENT_MAGIC: [u8; 8] = *b"RLCLCUR\x97";
const FORMAT: u16 = 1;
/// Behind the segments: the last of them may not be there. No segment has this number, and a build that does not know its meaning takes
/// it for a segment that is not there.
const NOT_BEGUN: u64 = u64::MAX;
const CRC_BYTES: usize = 4;

/// Which segments of one shard are live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Drawn at random when the shard's directory was made, and known to nobody outside: the salts of its segments come from it.
    pub key: u64,
    /// The live segments, in the order in which they were begun.
    pub segments: Vec<u64>,
    /// The last of them may not be begun yet. Any other that is not there is lost.
    pub is_last_to_begin: bool,
    /// The number of the next segment; none is used twice.
    pub next_segment: u64,
}

/// Which era is the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its number, which names its directory.
    pub era: u64,
    /// How many shards it has.
    pub cores: u16,
}

/// Why bytes are no manifest, or do not say what is current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// They do not begin as one.
    NotOurs,
    /// A checksum or a length is wrong.
    Damaged,
    /// A newer build wrote them.
    Newer {
        /// Their format.
        format: u16,
    },
}

impl Manifest {
    /// What stands for a manifest that is lost: all segments that are there count, and a sound header of one of them tells the key.
    pub fn made_up(segments: Vec<u64>, known: Option<&Header>, otherwise: u64) -> Self {
        let key_of = |header: &Header| unmix(header.salt) ^ mix(header.segment.wrapping_add(1));
        Self {
            key: known.map_or(otherwise, key_of),
            next_segment: segments.iter().max().map_or(0, |last| last + 1),
            segments,
            is_last_to_begin: false,
        }
    }

    /// The salt of this segment: a reader knows it even when the segment's header is damaged.
    pub fn salt(&self, segment: u64) -> u64 {
        mix(self.key ^ mix(segment.wrapping_add(1)))
    }

    /// Its bytes. Layout, little endian: magic (8), format (2), key (8), next segment (8), segments (8 each), CRC-32 (4).
    pub fn encode(&self) -> Vec<u8> {
        sealed(MANIFEST_MAGIC, |out| {
            out.extend(self.key.to_le_bytes());
            out.extend(self.next_segment.to_le_bytes());
            let mark = self.is_last_to_begin.then_some(&NOT_BEGUN);
            out.extend(
                self.segments
                    .iter()
                    .chain(mark)
                    .flat_map(|id| id.to_le_bytes()),
            );
        })
    }

    /// The manifest that these bytes are.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (numbers, rest) = opened(MANIFEST_MAGIC, bytes)?.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let (Some(key), Some(next_segment), []) = (numbers.next(), numbers.next(), rest) else {
            return Err(ManifestError::Damaged);
        };
        let mut segments: Vec<u64> = numbers.collect();
        let is_last_to_begin = segments.pop_if(|last| *last == NOT_BEGUN).is_some();
        Ok(Self {
            key,
            segments,
            is_last_to_begin,
            next_segment,
        })
    }
}

impl Current {
    /// Its bytes. Layout, little endian: magic (8), format (2), era (8), cores (2), CRC-32 (4).
    pub fn encode(&self) -> Vec<u8> {
        sealed(CURRENT_MAGIC, |out| {
            out.extend(self.era.to_le_bytes());
            out.extend(self.cores.to_le_bytes());
        })
    }

    /// What these bytes say.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let content = opened(CURRENT_MAGIC, bytes)?;
        let (era, cores) = content.split_first_chunk().ok_or(ManifestError::Damaged)?;
        let cores = cores.try_into().map_err(|_| ManifestError::Damaged)?;
        Ok(Self {
            era: u64::from_le_bytes(*era),
            cores: u16::from_le_bytes(cores),
        })
    }
}

fn sealed(magic: [u8; 8], write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    write(&mut bytes);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// What stands between format and checksum, which later formats have in the same places.
fn opened(magic: [u8; 8], bytes: &[u8]) -> Result<&[u8], ManifestError> {
    let behind = bytes.strip_prefix(&magic).ok_or(ManifestError::NotOurs)?;
    let (sealed, crc) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(ManifestError::Damaged)?;
    if crc32fast::hash(sealed) != u32::from_le_bytes(*crc) {
        return Err(ManifestError::Damaged);
    }
    let content = &behind[..behind.len().saturating_sub(CRC_BYTES)];
    let (format, content) = content.split_first_chunk().ok_or(ManifestError::Damaged)?;
    match u16::from_le_bytes(*format) {
        FORMAT => Ok(content),
        format => Err(ManifestError::Newer { format }),
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("not a file of a journal"),
            Self::Damaged => f.write_str("damaged"),
            Self::Newer { format } => write!(
                f,
                "format {format} of a newer build, this one reads {FORMAT}: start that build again, or move the journal \
                 away to begin without it"
            ),
        }
    }
}

impl std::error::Error for ManifestError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            key: 0x0123_4567_89ab_cdef,
            segments: vec![1, 7],
            is_last_to_begin: true,
            next_segment: 8,
        }
    }

    const CURRENT: Current = Current { era: 3, cores: 64 };

    #[test]
    fn round_trip() {
        assert_eq!(Manifest::decode(&manifest().encode()), Ok(manifest()));
        assert_eq!(Current::decode(&CURRENT.encode()), Ok(CURRENT));
    }

    #[test]
    fn golden_bytes() {
        let manifest = Manifest {
            segments: vec![7],
            is_last_to_begin: false,
            ..manifest()
        };
        assert_eq!(
            manifest.encode(),
            b"RLCLMAN\x97\x01\0\xef\xcd\xab\x89\x67\x45\x23\x01\x08\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x78\x5c\xf2\x92"
        );
        assert_eq!(
            CURRENT.encode(),
            b"RLCLCUR\x97\x01\0\x03\0\0\0\0\0\0\0\x40\0\xa7\x90\x89\xb0"
        );
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error() {
        let noticed =
            |bytes: &[u8]| Manifest::decode(bytes).is_err() && Current::decode(bytes).is_err();
        for bytes in [manifest().encode(), CURRENT.encode()] {
            for len in 0..bytes.len() {
                assert!(noticed(&bytes[..len]), "{len} bytes");
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(noticed(&damaged), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = CURRENT.encode();
        bytes.truncate(bytes.len() - CRC_BYTES);
        bytes[8] = 2;
        bytes.extend(b"more");
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());

        let error = Current::decode(&bytes).unwrap_err();

        assert_eq!(error, ManifestError::Newer { format: 2 });
        assert!(error.to_string().contains("start that build again"));
    }

    #[test]
    fn the_key_is_known_from_any_header() {
        for segment in [0, 1, 7_000_000_000] {
            let header = Header {
                segment,
                salt: manifest().salt(segment),
                ..Header::default()
            };

            let made_up = Manifest::made_up(vec![3, 9], Some(&header), 5);

            assert_eq!(made_up.key, manifest().key);
            assert_eq!(made_up.next_segment, 10);
        }
        assert_eq!(Manifest::made_up(vec![], None, 5).key, 5);
    }

    #[test]
    fn no_two_segments_have_one_salt() {
        let other = Manifest {
            key: 1,
            ..manifest()
        };
        let mut salts: Vec<_> = (0..1_000)
            .flat_map(|segment| [manifest().salt(segment), other.salt(segment)])
            .collect();
        salts.sort_unstable();
        salts.dedup();

        assert_eq!(salts.len(), 2_000);
    }
}
