//! What a node remembers over a restart: a version above all it gave, and how many publishers each service had.
//!
//! Versions must not go back whatever the clock does, and a list must not be shown shorter than it was only because some
//! clients found the restarted node sooner than others. Written as a whole soon after each change, and replaced atomically.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rollcall_core::data::Summary;
use rollcall_core::version::DatumVersion;

const FILE: &str = "remembered";
const MAGIC: &[u8; 8] = b"RLCLREM\x01";
const SERVICE_BYTES: usize = 12;

/// The file of one node, in its data directory.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    path: PathBuf,
}

/// Why it cannot be read.
#[derive(Debug)]
pub(crate) enum RememberedError {
    /// The file system says no.
    File(PathBuf, io::Error),
    /// What is there was not written by us, or not to its end.
    Damaged(PathBuf),
}

impl fmt::Display for RememberedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Damaged(path) => write!(f, "{}: damaged; it is written anew", path.display()),
        }
    }
}

impl Remembered {
    /// The file in this directory, which is made if it is not there.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self, RememberedError> {
        fs::create_dir_all(directory)
            .map_err(|error| RememberedError::File(directory.to_owned(), error))?;
        Ok(Self {
            path: directory.join(FILE),
        })
    }

    /// What was written last; nothing at the first start.
    pub(crate) fn load(&self) -> Result<Summary, RememberedError> {
        match fs::read(&self.path) {
            Ok(bytes) => decode(&bytes).ok_or_else(|| RememberedError::Damaged(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Summary::default()),
            Err(error) => Err(RememberedError::File(self.path.clone(), error)),
        }
    }

    /// Replaces what was written before. Survives the end of the process, however it comes.
    pub(crate) fn save(&self, summary: &Summary) -> io::Result<()> {
        self.replace("next", summary, |_| Ok(()))
    }

    /// Replaces what was written before. Survives the end of the machine.
    pub(crate) fn save_for_good(&self, summary: &Summary) -> io::Result<()> {
        self.replace("last", summary, File::sync_data)
    }

    fn replace(
        &self,
        extension: &str,
        summary: &Summary,
        sync: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        // One name for each writer: the last word may come while another is being written.
        let next = self.path.with_extension(extension);
        let mut file = File::create(&next)?;
        file.write_all(&encode(summary))?;
        sync(&file)?;
        fs::rename(next, &self.path)
    }
}

/// Layout, little endian: magic, highest version (8), then per service its place on the ring (8) and number of publishers (4),
/// at last the CRC-32 of all before (4).
fn encode(summary: &Summary) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + 12 + summary.services.len() * SERVICE_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(summary.highest.number().to_le_bytes());
    for (place, publishers) in &summary.services {
        bytes.extend(place.to_le_bytes());
        bytes.extend(publishers.to_le_bytes());
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Summary> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (highest, services) = content.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let services = services.chunks_exact(SERVICE_BYTES).filter_map(|service| {
        let (place, publishers) = service.split_first_chunk::<8>()?;
        let publishers = publishers.first_chunk::<4>()?;
        Some((u64::from_le_bytes(*place), u32::from_le_bytes(*publishers)))
    });
    Some(Summary {
        highest: DatumVersion::new(u64::from_le_bytes(*highest)),
        services: services.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            highest: DatumVersion::new(77),
            services: vec![(1, 3), (u64::MAX, 10_000)],
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let remembered =
            Remembered::in_directory(&directory.path().join("new")).expect("a directory");
        assert_eq!(remembered.load().expect("nothing yet"), Summary::default());

        remembered.save(&summary()).expect("written");

        assert_eq!(remembered.load().expect("read"), summary());
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_noticed() {
        let bytes = encode(&summary());

        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len]), None, "{len} bytes");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(decode(&damaged), None, "byte {place}");
        }
    }
}
