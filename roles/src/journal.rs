//! `rollcall journal`: what the journal in a data directory holds, and whether all of it can be read.
//!
//! It only reads, so a node may be using the directory meanwhile: a shard whose segments are replaced while they are read is read
//! again.

mod report;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rollcall_core::data::journal::File;
use rollcall_core::data::journal::manifest::{Current, Manifest, ManifestError};
use rollcall_core::data::journal::record::{Entry, Record};
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{
    Expected, Header, Scanned, Scanner, SegmentWriter, Tail,
};
use rollcall_core::limits::JOURNAL_SLICE_BYTES;
use rollcall_core::names::Interner;
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;
use rollcall_io::file::{DiskError, Folder, read_if_there};
use rollcall_io::host;

use crate::recovery::{self, CURRENT, JOURNAL};

/// How often a shard is read that a node compacts meanwhile. Reading takes less than what would have to be written for that.
const READS_MAX: usize = 10;

/// What a journal holds.
#[derive(Debug)]
pub struct Survey {
    path: PathBuf,
    current: Current,
    cluster: Option<u64>,
    shards: Vec<Shard>,
    faults: Vec<Fault>,
}

/// What is in the directory of one core.
#[derive(Debug, Default)]
struct Shard {
    core: u16,
    segments: Vec<Segment>,
    /// What it would take to write down all that counts.
    live_bytes: u64,
    publishers: usize,
    services: usize,
    ceiling: Option<DatumVersion>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    records: u64,
    damaged: usize,
    end: End,
}

#[derive(Debug)]
enum End {
    At(Tail),
    /// The manifest names it, and there is no such file yet.
    NotBegun,
    /// The manifest names it, it was begun, and there is nothing of it.
    Lost,
    /// No manifest names it: it was, or would have become, part of a snapshot, and the next start removes it.
    Stray,
    /// It is not read.
    Refused,
}

/// What is damaged, and where.
#[derive(Debug)]
struct Fault {
    path: PathBuf,
    place: Option<(u64, u64)>,
    why: String,
}

/// Why there is nothing to tell.
#[derive(Debug)]
pub enum JournalError {
    /// No journal is there.
    Nothing(PathBuf),
    /// The file system says no.
    Unreadable(PathBuf, io::Error),
    /// The same, of a file of a shard.
    Disk(DiskError),
    /// A newer build wrote it.
    Newer(PathBuf, ManifestError),
    /// The node replaces files faster than they are read.
    Changing(PathBuf),
}

/// Reads the journal in this data directory.
pub fn survey(data_directory: &Path) -> Result<Survey, JournalError> {
    let path = data_directory.join(JOURNAL);
    let mut faults = Vec::new();
    let current = current(&path, &mut faults)?;
    let mut survey = Survey {
        current,
        cluster: None,
        shards: Vec::new(),
        faults,
        path,
    };
    for core in 0..current.cores {
        survey.read_shard(core)?;
    }
    Ok(survey)
}

/// Which era counts. If that is damaged, the last there is.
fn current(path: &Path, faults: &mut Vec<Fault>) -> Result<Current, JournalError> {
    let file = path.join(CURRENT);
    let read = read_if_there(&file).map(|bytes| bytes.map(|bytes| Current::decode(&bytes)));
    let damaged = match read {
        Ok(Some(Ok(current))) => return Ok(current),
        Ok(Some(Err(newer @ ManifestError::Newer { .. }))) => {
            return Err(JournalError::Newer(file, newer));
        }
        Ok(Some(Err(error))) => error.to_string(),
        Ok(None) => "missing".to_owned(),
        Err(error) => return Err(JournalError::Unreadable(file, error)),
    };
    let era = numbered(path)?.pop();
    let era = era.ok_or_else(|| JournalError::Nothing(path.to_owned()))?;
    let cores = numbered(&path.join(era.to_string()))?.pop();
    faults.push(Fault {
        path: file,
        place: None,
        why: format!("{damaged}; read as if era {era} were current"),
    });
    Ok(Current {
        era,
        cores: cores.map_or(0, |last| u16::try_from(last + 1).unwrap_or(u16::MAX)),
    })
}

fn numbered(path: &Path) -> Result<Vec<u64>, JournalError> {
    recovery::numbered(path).map_err(|error| JournalError::Unreadable(path.to_owned(), error))
}

impl Survey {
    /// How many stretches cannot be read. A torn tail is none: it is what a killed node leaves.
    pub fn damages(&self) -> usize {
        self.faults.len()
    }

    fn read_shard(&mut self, core: u16) -> Result<(), JournalError> {
        let path = self
            .path
            .join(self.current.era.to_string())
            .join(core.to_string());
        let folder = Folder::new(&path);
        let mut manifest = whole(&folder, File::Manifest)?;
        for _ in 0..READS_MAX {
            let mut reading = Reading::of(&path, core, self.cluster);
            reading.read(&folder, &manifest)?;
            let before = std::mem::replace(&mut manifest, whole(&folder, File::Manifest)?);
            if before == manifest {
                self.cluster = reading.cluster;
                let (shard, faults) = reading.finish();
                self.shards.push(shard);
                self.faults.extend(faults);
                return Ok(());
            }
        }
        Err(JournalError::Changing(path))
    }
}

/// One reading of one shard.
struct Reading<'a> {
    path: &'a Path,
    /// That of the first sound header.
    cluster: Option<u64>,
    shard: Shard,
    faults: Vec<Fault>,
    replay: Replay,
    names: Interner,
}

impl<'a> Reading<'a> {
    fn of(path: &'a Path, core: u16, cluster: Option<u64>) -> Self {
        let seed = Seed(host::random());
        Self {
            path,
            cluster,
            shard: Shard {
                core,
                ..Shard::default()
            },
            faults: Vec::new(),
            replay: Replay::new(seed),
            names: Interner::new(seed),
        }
    }

    fn read(&mut self, folder: &Folder, manifest: &[u8]) -> Result<(), JournalError> {
        let files = folder.list()?;
        if files.contains(&File::Gap) {
            let why = "the disk failed: something may have been shown that is in no segment";
            self.fault(File::Gap, None, why.to_owned());
        }
        let segments = files.into_iter().filter_map(|file| match file {
            File::Segment(number) => Some(number),
            File::Manifest | File::Gap => None,
        });
        let there: Vec<_> = segments.collect();
        let manifest = match Manifest::decode(manifest) {
            Ok(manifest) => manifest,
            Err(ManifestError::NotOurs) if manifest.is_empty() && there.is_empty() => return Ok(()),
            Err(newer @ ManifestError::Newer { .. }) => {
                return Err(JournalError::Newer(
                    self.path.join(File::Manifest.to_string()),
                    newer,
                ));
            }
            Err(error) => {
                self.fault(
                    File::Manifest,
                    None,
                    format!("{error}; all segments are read"),
                );
                return there
                    .into_iter()
                    .try_for_each(|number| self.read_segment(folder, number, None));
            }
        };
        for &number in &manifest.segments {
            let is_last = manifest.segments.last() == Some(&number);
            if folder.len(File::Segment(number))? > 0 {
                self.read_segment(folder, number, Some(manifest.salt(number)))?;
            } else if is_last && manifest.is_last_to_begin {
                self.add(number, 0, 0, End::NotBegun);
            } else {
                self.add(number, 0, 0, End::Lost);
                self.fault(File::Segment(number), None, "empty or missing".to_owned());
            }
        }
        for number in there
            .into_iter()
            .filter(|number| !manifest.segments.contains(number))
        {
            let bytes = folder.len(File::Segment(number))?;
            self.add(number, bytes, 0, End::Stray);
        }
        Ok(())
    }

    fn read_segment(
        &mut self,
        folder: &Folder,
        number: u64,
        salt: Option<u64>,
    ) -> Result<(), JournalError> {
        let mut scanner = Scanner::new(Expected {
            cluster: self.cluster,
            shard: self.shard.core,
            segment: number,
            salt,
        });
        let (mut bytes, mut records, mut refused) = (0, 0, None);
        let mut damages = Vec::new();
        folder.read(File::Segment(number), |piece| {
            bytes += piece.len() as u64;
            if refused.is_some() {
                return;
            }
            let read = scanner.scan(piece, |found| match found {
                Scanned::Record { record, .. } => {
                    records += 1;
                    self.take(&record);
                }
                Scanned::Damage { from, to, why } => damages.push(((from, to), why)),
            });
            refused = read.err();
        })?;
        self.cluster = self
            .cluster
            .or(scanner.header().map(|header| header.cluster));
        let end = match &refused {
            Some(_) => End::Refused,
            None => End::At(scanner.finish()),
        };
        self.add(number, bytes, records, end);
        self.shard.segments.last_mut().expect("just added").damaged = damages.len();
        for (place, why) in damages {
            self.fault(File::Segment(number), Some(place), why.to_string());
        }
        if let Some(error) = refused {
            self.fault(File::Segment(number), None, error.to_string());
        }
        Ok(())
    }

    fn take(&mut self, record: &Record<'_>) {
        if let Record::Ceiling { version } = record {
            self.shard.ceiling = self.shard.ceiling.max(Some(*version));
        }
        self.replay.take(record, &mut self.names, |_| true);
    }

    fn add(&mut self, number: u64, bytes: u64, records: u64, end: End) {
        self.shard.segments.push(Segment {
            number,
            bytes,
            records,
            damaged: 0,
            end,
        });
    }

    fn fault(&mut self, file: File, place: Option<(u64, u64)>, why: String) {
        self.faults.push(Fault {
            path: self.path.join(file.to_string()),
            place,
            why,
        });
    }

    fn finish(self) -> (Shard, Vec<Fault>) {
        let replayed = self.replay.finish();
        let publishers = replayed
            .services
            .iter()
            .map(|service| service.publishers.len());
        let shard = Shard {
            publishers: publishers.clone().sum(),
            services: publishers.filter(|&count| count > 0).count(),
            live_bytes: live_bytes(&replayed),
            ..self.shard
        };
        (shard, self.faults)
    }
}

/// What a snapshot of it would take.
fn live_bytes(replayed: &Replayed) -> u64 {
    let mut out = Vec::new();
    let mut writer = SegmentWriter::new(&Header::default(), &mut out);
    for service in &replayed.services {
        if service.publishers.is_empty() {
            writer.append(
                &Entry::empty(&service.data_info_id, service.version),
                &mut out,
            );
        }
        for publisher in &service.publishers {
            let entry = Entry::put(&service.data_info_id, publisher, service.version);
            writer.append(&entry, &mut out);
            if out.len() >= JOURNAL_SLICE_BYTES {
                writer.close(&mut out);
                out.clear();
            }
        }
    }
    writer.close(&mut out);
    writer.len()
}

/// The bytes of a small file; none if it is not there.
fn whole(folder: &Folder, file: File) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    folder.read(file, |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes)
}

impl From<DiskError> for JournalError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(path) => write!(
                f,
                "{}: no journal is there: give the data directory of a node",
                path.display()
            ),
            Self::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Disk(error) => error.fmt(f),
            Self::Newer(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Changing(path) => write!(
                f,
                "{}: changed each of {READS_MAX} times while it was read: try again when the node is less busy",
                path.display()
            ),
        }
    }
}

impl std::error::Error for JournalError {}
