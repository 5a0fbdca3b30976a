//! A directory of journal files, for callers that may block: a start before its core serves, a tool, a thread for blocking work.

use std::fs::{self, DirBuilder, File as OsFile, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rollcall_core::data::journal::File;

use super::error::DiskError;

/// What [`Folder::read`] hands out at once. A multiple of the journal's blocks (32 KiB).
const CHUNK_BYTES: usize = 256 << 10;
/// What clients publish, and what operators set, is for this user only.
pub(super) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Damaged files of one name that are kept.
const SET_ASIDE_MAX: usize = 100;

/// The files of one shard. Every call blocks.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The directory at `path`. Nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the directory, and those above it, if it is not there; it is on the medium then.
    pub fn make(&self) -> Result<(), DiskError> {
        make(&self.path).map_err(|error| DiskError::new("making", &self.path, &error))
    }

    /// The journal files that are here, in order. Whatever else lies here is passed over; no directory is an empty one.
    pub fn list(&self) -> Result<Vec<File>, DiskError> {
        let failed = |error| DiskError::new("listing", &self.path, &error);
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            files.extend(name.to_str().and_then(named));
        }
        files.sort();
        Ok(files)
    }

    /// How long a file is; one that is not there is empty.
    pub fn len(&self, file: File) -> Result<u64, DiskError> {
        let path = self.path_of(file);
        let len = refuse_irregular(&path).and_then(|()| fs::metadata(&path));
        match len {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(DiskError::new("looking at", &path, &error)),
        }
    }

    /// Hands out a file from its start, in chunks of a multiple of 32 KiB; only the last may be shorter. One that is not there is empty.
    pub fn read(&self, file: File, mut take: impl FnMut(&[u8])) -> Result<(), DiskError> {
        self.read_while(file, |chunk| {
            take(chunk);
            true
        })
    }

    /// All of a small file; nothing if it is not there.
    pub fn read_whole(&self, file: File) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path_of(file);
        read_if_there(&path).map_err(|error| DiskError::new("reading", &path, &error))
    }

    /// As `read`, as long as `take` wants more.
    pub fn read_while(
        &self,
        file: File,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), DiskError> {
        let path = self.path_of(file);
        let failed = |error| DiskError::new("reading", &path, &error);
        let Some(mut source) = open_if_there(&path).map_err(failed)? else {
            return Ok(());
        };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        loop {
            chunk.clear();
            let mut rest = (&mut source).take(CHUNK_BYTES as u64);
            rest.read_to_end(&mut chunk).map_err(failed)?;
            let wants_more = chunk.is_empty() || take(&chunk);
            if chunk.len() < CHUNK_BYTES || !wants_more {
                return Ok(());
            }
        }
    }

    /// Cuts what lies behind `len`.
    pub fn truncate(&self, file: File, len: u64) -> Result<(), DiskError> {
        let path = self.path_of(file);
        let cut = || {
            refuse_irregular(&path)?;
            OpenOptions::new().write(true).open(&path)?.set_len(len)
        };
        cut().map_err(|error| DiskError::new("truncating", &path, &error))
    }

    /// Writes a whole file at once: after a crash it is there as a whole, or as it was before.
    pub fn replace(&self, file: File, bytes: &[u8]) -> Result<(), DiskError> {
        replace(&self.path_of(file), bytes)
    }

    /// Whatever was replaced or removed here is so on the medium.
    pub fn sync(&self) -> Result<(), DiskError> {
        let synced = sync_directory(&self.path);
        synced.map_err(|error| DiskError::new("syncing", &self.path, &error))
    }

    /// Keeps a file that cannot be read, under another name, and says which.
    pub fn set_aside(&self, file: File) -> Result<PathBuf, DiskError> {
        let path = self.path_of(file);
        let kept = set_aside(&path);
        kept.map_err(|error| DiskError::new("setting aside", &path, &error))
    }

    /// Removes files; one that is not there is no error.
    pub fn remove(&self, files: &[File]) -> Result<(), DiskError> {
        for file in files {
            let path = self.path_of(*file);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(DiskError::new("removing", &path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn open(&self, file: File, create: bool) -> Result<OsFile, DiskError> {
        let path = self.path_of(file);
        let opened = refuse_irregular(&path).and_then(|()| {
            let mut options = OpenOptions::new();
            options.write(true).create(create).truncate(false);
            options.mode(FILE_MODE).open(&path)
        });
        opened.map_err(|error| DiskError::new("opening", &path, &error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn path_of(&self, file: File) -> PathBuf {
        self.path.join(file.to_string())
    }
}

/// Writes a whole file at once: after a crash it is there as a whole, or as it was before.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let next = path.with_extension("next");
    let written = || {
        refuse_irregular(&next)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let file = options.mode(FILE_MODE).open(&next)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        fs::rename(&next, path)?;
        sync_directory(path.parent().unwrap_or(Path::new("")))
    };
    written().map_err(|error| DiskError::new("replacing", path, &error))
}

/// All of a small file; nothing if it is not there.
pub fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Renames what cannot be read, so that nothing is written over it; says how it is called from then on.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |number: usize| match number {
        0 => format!("{}.damaged", path.display()),
        _ => format!("{}.{number}.damaged", path.display()),
    };
    let free = (0..SET_ASIDE_MAX).map(name).map(PathBuf::from);
    let free = free.into_iter().find(|path| !path.exists());
    let kept = free.ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(path, &kept)?;
    Ok(kept)
}

fn open_if_there(path: &Path) -> io::Result<Option<OsFile>> {
    refuse_irregular(path)?;
    match OsFile::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Something else under the name of a file, such as a pipe, might be waited for without end.
pub fn refuse_irregular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("not a regular file")),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Each directory that is made must be synced in the one above it.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    if above != Path::new("") {
        make(above)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_directory(above)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path == Path::new("") {
        Path::new(".")
    } else {
        path
    };
    OsFile::open(path)?.sync_all()
}

/// The file that has this name.
fn named(name: &str) -> Option<File> {
    let segment = name.split('.').next()?.parse().map(File::Segment);
    let files = [segment.unwrap_or(File::Manifest), File::Gap];
    files.into_iter().find(|file| file.to_string() == name)
}
