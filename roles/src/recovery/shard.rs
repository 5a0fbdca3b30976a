//! The journal of one shard, read by one core: whatever is sound counts, and what is not whole is told.

use std::path::Path;
use std::time::Duration;

use rollcall_core::data::journal::manifest::{Manifest, ManifestError};
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{
    Expected, Header, HeaderError, Scanned, Scanner, Tail,
};
use rollcall_core::data::journal::{File, Former};
use rollcall_core::machine::Instant;
use rollcall_core::names::{CoreId, Interner};
use rollcall_core::tables::Seed;
use rollcall_io::clock::Clock;
use rollcall_io::file::{DiskError, Folder};
use rollcall_io::host;

use super::{CLUSTER, RecoveryError};

/// How often a long replay says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// A replay of one shard by one core, or of all of them.
pub(super) struct Reading<'a> {
    core: CoreId,
    replay: Replay,
    names: &'a mut Interner,
    is_mine: &'a dyn Fn(u64) -> bool,
    began: Instant,
    reported: Instant,
    bytes: u64,
    /// The start of the machine in which it reads.
    boot_id: [u8; 16],
    /// What was there once and cannot be read.
    pub(super) damages: u64,
}

/// What is done with a shard beside reading it.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    /// It goes on to be written: torn tails are cut, and what counts for nothing is removed.
    pub(super) cleans: bool,
    /// Former lives were ready with it, so something must be there.
    pub(super) was_begun: bool,
}

/// What is known of the last segment of a journal.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) boot_id: Option<[u8; 16]>,
    pub(super) is_sealed: bool,
}

/// Which segments a shard has.
struct Known {
    manifest: Manifest,
    /// The manifest is what it was when it was written, and what it names is there.
    is_sound: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        core: CoreId,
        seed: Seed,
        names: &'a mut Interner,
        is_mine: &'a dyn Fn(u64) -> bool,
    ) -> Self {
        let began = Clock::monotonic();
        Self {
            core,
            replay: Replay::new(seed),
            names,
            is_mine,
            began,
            reported: began,
            bytes: 0,
            boot_id: host::boot_id(),
            damages: 0,
        }
    }

    /// Reads a shard: what its next life goes on with, and how its last one ended, unless there is nothing.
    pub(super) fn read_shard(
        &mut self,
        shard: CoreId,
        folder: &Folder,
        reader: Reader,
    ) -> Result<(Option<Former>, Option<End>), RecoveryError> {
        let damages = self.damages;
        let Some(Known { manifest, is_sound }) = self.known(folder, reader)? else {
            return Ok((None, None));
        };
        let mut segments = Vec::new();
        let mut end = None;
        for &segment in &manifest.segments {
            let file = File::Segment(segment);
            // One that was never begun need not be kept, and cannot be synced.
            if folder.len(file).map_err(RecoveryError::Disk)? == 0 {
                continue;
            }
            let salt = is_sound.then(|| manifest.salt(segment));
            if let Some(read) = self.read_segment(shard, folder, segment, salt, reader)? {
                end = Some(read);
                let len = folder.len(file).map_err(RecoveryError::Disk)?;
                segments.push((segment, len));
            }
        }
        let has_mark = folder.list().map_err(RecoveryError::Disk)?;
        let has_mark = has_mark.contains(&File::Gap);
        if has_mark {
            let folder = folder.path().display();
            tracing::warn!(%folder, "the disk failed in the last life: what is there may be outdated, lists are held until they are whole");
        }
        if reader.cleans {
            clean(folder, &segments).map_err(RecoveryError::Disk)?;
        }
        let is_damaged = self.damages > damages;
        let former = Former {
            segments,
            next_segment: manifest.next_segment,
            key: manifest.key,
            needs_snapshot: !is_sound || is_damaged,
            has_gap: has_mark || is_damaged,
            ..Former::default()
        };
        Ok((Some(former), end))
    }

    /// Which segments there are. If the manifest does not say it, or names what is not there, all that are there count.
    fn known(&mut self, folder: &Folder, reader: Reader) -> Result<Option<Known>, RecoveryError> {
        let bytes = folder
            .read_whole(File::Manifest)
            .map_err(RecoveryError::Disk)?;
        let there = segments_in(folder)?;
        let path = folder.path().join(File::Manifest.to_string());
        let decoded = match bytes.as_deref().map(Manifest::decode) {
            Some(Err(error @ ManifestError::Newer { .. })) => {
                return Err(RecoveryError::Manifest(path, error));
            }
            None if there.is_empty() && !reader.was_begun => return Ok(None),
            None => Err("missing".to_owned()),
            Some(decoded) => decoded.map_err(|error| error.to_string()),
        };
        let is_readable = decoded.is_ok();
        match decoded {
            Ok(manifest) => {
                let lost = self.lost(folder, &manifest)?;
                if !lost {
                    return Ok(Some(Known {
                        manifest,
                        is_sound: true,
                    }));
                }
            }
            Err(error) => {
                self.damages += 1;
                tracing::warn!(file = %path.display(), error, segments = there.len(), "every segment that is there is read");
            }
        }
        if reader.cleans && bytes.is_some() && !is_readable {
            keep(folder, File::Manifest)?;
        }
        let header = there.iter().find_map(|&segment| header(folder, segment));
        Ok(Some(Known {
            manifest: Manifest::made_up(there, header.as_ref(), host::random()),
            is_sound: false,
        }))
    }

    /// Whether a segment is not there that was begun.
    fn lost(&mut self, folder: &Folder, manifest: &Manifest) -> Result<bool, RecoveryError> {
        let mut lost = false;
        for &segment in &manifest.segments {
            let file = File::Segment(segment);
            let is_last = manifest.segments.last() == Some(&segment);
            let may_begin = is_last && manifest.is_last_to_begin;
            if !may_begin && folder.len(file).map_err(RecoveryError::Disk)? == 0 {
                lost = true;
                self.damages += 1;
                let file = folder.path().join(file.to_string());
                tracing::warn!(file = %file.display(), "a segment of the journal is empty or missing, what is there is read");
            }
        }
        Ok(lost)
    }

    fn read_segment(
        &mut self,
        shard: CoreId,
        folder: &Folder,
        segment: u64,
        salt: Option<u64>,
        reader: Reader,
    ) -> Result<Option<End>, RecoveryError> {
        let file = File::Segment(segment);
        let mut scanner = Scanner::new(Expected {
            cluster: Some(CLUSTER),
            shard: shard.0,
            segment,
            salt,
        });
        let path = folder.path().join(file.to_string());
        let (mut refused, mut len) = (None, 0);
        let read = folder.read(file, |chunk| {
            len += chunk.len() as u64;
            if refused.is_some() {
                return;
            }
            let found = |scanned: Scanned<'_>| match scanned {
                Scanned::Record { record, .. } => {
                    self.replay.take(&record, self.names, self.is_mine);
                }
                Scanned::Damage { from, to, why } => {
                    self.damages += 1;
                    tracing::warn!(file = %path.display(), from, to, %why, "journal damaged, what is sound is kept");
                }
            };
            refused = scanner.scan(chunk, found).err();
            self.report_progress(&path, chunk.len());
        });
        read.map_err(RecoveryError::Disk)?;
        match refused {
            // The manifest would have told what is needed to read it all the same.
            Some(error @ (HeaderError::Damaged | HeaderError::NotASegment)) => {
                self.damages += 1;
                tracing::warn!(file = %path.display(), %error, "a segment of the journal cannot be read");
                if reader.cleans {
                    keep(folder, file)?;
                }
                return Ok(None);
            }
            Some(error) => return Err(RecoveryError::Segment(path, error)),
            None => {}
        }
        let (end, len) = self.end_of(&path, scanner, len);
        if reader.cleans {
            // Also where nothing is to cut: what was set aside behind the end for more to come is given back.
            folder.truncate(file, len).map_err(RecoveryError::Disk)?;
        }
        Ok(Some(end))
    }

    /// How a segment that was read to its end ends, and up to where it counts.
    fn end_of(&mut self, path: &Path, scanner: Scanner, len: u64) -> (End, u64) {
        let boot_id = scanner.header().map(|header| header.boot_id);
        let tail = scanner.finish();
        let is_of_this_start = boot_id == Some(self.boot_id);
        let counts = match tail {
            // No power was cut since: what the kernel was given is there, unless it is damaged.
            Tail::Damaged { offset, why } if is_of_this_start => {
                self.damages += 1;
                tracing::warn!(file = %path.display(), from = offset, to = len, %why, "journal damaged, what is sound is kept");
                offset
            }
            Tail::Torn { offset } | Tail::Damaged { offset, .. } => {
                tracing::info!(file = %path.display(), offset, "journal ends in the middle of a write, the rest is cut");
                offset
            }
            _ => len,
        };
        let end = End {
            boot_id,
            is_sealed: tail == Tail::Sealed,
        };
        (end, counts)
    }

    fn report_progress(&mut self, path: &Path, bytes: usize) {
        self.bytes += bytes as u64;
        let now = Clock::monotonic();
        if now.since(self.reported) >= PROGRESS_EVERY {
            self.reported = now;
            let seconds = now.since(self.began).as_secs();
            tracing::info!(core = self.core.0, file = %path.display(), bytes = self.bytes, seconds, "replaying");
        }
    }

    pub(super) fn finish(self) -> Replayed {
        let replayed = self.replay.finish();
        let took = Clock::monotonic().since(self.began);
        let services = replayed.services.iter();
        let publishers: usize = services.map(|service| service.publishers.len()).sum();
        if replayed.records == 0 {
            return replayed;
        }
        tracing::info!(
            core = self.core.0,
            publishers,
            services = replayed.services.len(),
            records = replayed.records,
            bytes = self.bytes,
            ms = took.as_millis() as u64,
            "replayed, the publishers await their clients"
        );
        replayed
    }
}

/// Removes the files that count for nothing.
fn clean(folder: &Folder, segments: &[(u64, u64)]) -> Result<(), DiskError> {
    let is_kept = |file: &File| match *file {
        File::Manifest | File::Gap => true,
        File::Segment(number) => segments.iter().any(|&(kept, _)| kept == number),
    };
    folder.make()?;
    let mut files = folder.list()?;
    files.retain(|file| !is_kept(file));
    // A node that was killed while it replaced the manifest has left that to the kernel: what only the one before names must not be gone
    // earlier.
    folder.sync()?;
    folder.remove(&files)
}

fn segments_in(folder: &Folder) -> Result<Vec<u64>, RecoveryError> {
    let files = folder.list().map_err(RecoveryError::Disk)?;
    let segments = files.into_iter().filter_map(|file| match file {
        File::Segment(segment) => Some(segment),
        File::Manifest | File::Gap => None,
    });
    Ok(segments.collect())
}

/// The header of a segment, if it is sound.
fn header(folder: &Folder, segment: u64) -> Option<Header> {
    let mut header = None;
    let mut look = |chunk: &[u8]| {
        header = header.take().or_else(|| Header::decode(chunk).ok());
        false
    };
    folder.read_while(File::Segment(segment), &mut look).ok()?;
    header
}

/// Sets aside what cannot be read, and says where it is then.
fn keep(folder: &Folder, file: File) -> Result<(), RecoveryError> {
    let kept = folder.set_aside(file).map_err(RecoveryError::Disk)?;
    let path = folder.path().join(file.to_string());
    tracing::warn!(file = %path.display(), kept = %kept.display(), "set aside, nothing is written over it");
    Ok(())
}
