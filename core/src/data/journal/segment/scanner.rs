//! Reads a segment piece by piece, past whatever is damaged in it.

use std::fmt;

use super::header::{Expected, HEADER_BYTES, Header, HeaderError};
use super::{BLOCK_BYTES, FRAGMENT_HEAD_BYTES, HEAD_BYTES, Kind, fragment_crc, head_crc};
use crate::data::journal::record::{self, Record, RecordError};
use crate::limits::JOURNAL_RECORD_BYTES_MAX;

/// Reads one segment.
#[derive(Debug)]
pub struct Scanner {
    expected: Expected,
    header: Option<Header>,
    salt: u64,
    /// Where the next bytes stand in the file.
    offset: u64,
    /// Of the next fragment; nothing while it is not known, from damage to the next sound head.
    sequence: Option<u64>,
    /// Where a batch began whose last fragment is still to come.
    open: Option<u64>,
    /// Its content so far.
    content: Vec<u8>,
    damage: Option<Damage>,
    is_sealed: bool,
}

/// What is found, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scanned<'a> {
    /// A record as it was written.
    Record {
        /// Where its batch begins.
        offset: u64,
        /// The record.
        record: Record<'a>,
    },
    /// Bytes that cannot be read, with sound ones behind them.
    Damage {
        /// The first of them.
        from: u64,
        /// The first sound one.
        to: u64,
        /// What was seen first.
        why: Why,
    },
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole batch.
    Whole,
    /// In order, with [`Record::Sealed`].
    Sealed,
    /// In the middle of a write, as after a kill: what there is of it is sound as far as can be told.
    Torn {
        /// Where the sound part ends.
        offset: u64,
    },
    /// With what cannot be read, as after a power cut, or damage.
    Damaged {
        /// Where the sound part ends.
        offset: u64,
        /// What was seen first.
        why: Why,
    },
}

/// Why bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The header of the segment.
    Header,
    /// The head of a block: its checksum is wrong, or it does not follow from the block before.
    Head,
    /// A fragment: its checksum, its length or its kind is wrong.
    Fragment,
    /// Bytes at the end of a block that must be zero.
    Padding,
    /// A batch lacks fragments, or is too long.
    Pieces,
    /// All fragments are sound and make no batch of records.
    Record(RecordError),
    /// The file ends here.
    End,
}

#[derive(Debug)]
struct Damage {
    from: u64,
    why: Why,
}

impl Scanner {
    /// A reader of the segment that is expected.
    pub fn new(expected: Expected) -> Self {
        Self {
            expected,
            header: None,
            salt: 0,
            offset: 0,
            sequence: None,
            open: None,
            content: Vec::new(),
            damage: None,
            is_sealed: false,
        }
    }

    /// The header, once the first bytes were read and if it is sound.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Reads on: calls `found` with all that is complete. All pieces but the last are multiples of a block.
    ///
    /// # Panics
    /// If an earlier piece was not.
    pub fn scan(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(Scanned<'_>),
    ) -> Result<(), HeaderError> {
        for block in bytes.chunks(BLOCK_BYTES) {
            assert!(
                self.offset.is_multiple_of(BLOCK_BYTES as u64),
                "a piece that ended at {}, within a block",
                self.offset
            );
            self.scan_block(block, &mut found)?;
            self.offset += block.len() as u64;
        }
        Ok(())
    }

    /// How the segment ends; all of it was read.
    pub fn finish(self) -> Tail {
        let why = self.damage.as_ref().map(|damage| damage.why);
        let lost = self.damage.map(|damage| damage.from);
        let unread = (self.offset == 0).then_some(0);
        match [lost, self.open, unread].into_iter().flatten().min() {
            Some(offset) => match why {
                None | Some(Why::End) => Tail::Torn { offset },
                Some(why) => Tail::Damaged { offset, why },
            },
            None if self.is_sealed => Tail::Sealed,
            None => Tail::Whole,
        }
    }

    fn scan_block(
        &mut self,
        block: &[u8],
        found: &mut impl FnMut(Scanned<'_>),
    ) -> Result<(), HeaderError> {
        let mut at = if self.offset == 0 {
            self.enter_segment(block)?;
            HEADER_BYTES
        } else {
            self.enter_block(block);
            HEAD_BYTES
        };
        while at < block.len() {
            let Some(sequence) = self.sequence else {
                return Ok(());
            };
            let rest = &block[at..];
            if BLOCK_BYTES - at <= FRAGMENT_HEAD_BYTES {
                if rest.iter().any(|&byte| byte != 0) {
                    self.damaged(at, Why::Padding);
                }
                return Ok(());
            }
            let is_last_block = block.len() < BLOCK_BYTES;
            match fragment(rest, is_last_block, self.salt, sequence) {
                Ok((kind, content)) => {
                    self.sequence = Some(sequence + 1);
                    self.take(at, kind, content, found);
                    at += FRAGMENT_HEAD_BYTES + content.len();
                }
                Err(why) => self.lost(at, why),
            }
        }
        Ok(())
    }

    /// Reads the header. Without one, what the manifest says will do.
    fn enter_segment(&mut self, block: &[u8]) -> Result<(), HeaderError> {
        match (Header::decode(block), self.expected.salt) {
            (Ok(header), _) => {
                header.check(&self.expected)?;
                self.salt = header.salt;
                self.header = Some(header);
            }
            (Err(_), _) if block.len() < HEADER_BYTES => {
                self.lost(0, Why::End);
                return Ok(());
            }
            (Err(HeaderError::Damaged | HeaderError::NotASegment), Some(salt)) => {
                self.salt = salt;
                self.damaged(0, Why::Header);
            }
            (Err(error), _) => return Err(error),
        }
        self.sequence = Some(0);
        Ok(())
    }

    /// Reads the head of a block. A reader in step needs none to go on, for each fragment proves itself.
    fn enter_block(&mut self, block: &[u8]) {
        let block_number = self.offset / BLOCK_BYTES as u64;
        match (head(block, self.salt, block_number), self.sequence) {
            (Ok(told), None) => self.sequence = Some(told),
            (Ok(told), Some(sequence)) if told == sequence => {}
            (Ok(_), Some(_)) => self.lost(0, Why::Head),
            (Err(why), Some(_)) => self.damaged(0, why),
            (Err(_), None) => {}
        }
    }

    /// A sound fragment.
    fn take(&mut self, at: usize, kind: Kind, content: &[u8], found: &mut impl FnMut(Scanned<'_>)) {
        let offset = self.offset + at as u64;
        let is_first = matches!(kind, Kind::Full | Kind::First);
        if is_first == self.open.is_some() {
            self.without_its_pieces(at);
        }
        if !is_first && self.open.is_none() {
            return;
        }
        self.sound_again(offset, found);
        let open = self.open.take().unwrap_or(offset);
        if kind == Kind::Full {
            return self.complete(open, content, found);
        }
        self.content.extend_from_slice(content);
        if self.content.len() > JOURNAL_RECORD_BYTES_MAX {
            self.open = Some(open);
            return self.without_its_pieces(at);
        }
        if kind == Kind::Last {
            let content = std::mem::take(&mut self.content);
            self.complete(open, &content, found);
            self.content = content;
            self.content.clear();
        } else {
            self.open = Some(open);
        }
    }

    fn complete(&mut self, from: u64, content: &[u8], found: &mut impl FnMut(Scanned<'_>)) {
        let read = record::read(content, |record| {
            self.is_sealed = record == Record::Sealed;
            found(Scanned::Record {
                offset: from,
                record,
            });
        });
        if let Err(error) = read {
            self.damage = Some(Damage {
                from,
                why: Why::Record(error),
            });
        }
    }

    /// The open batch will not be whole, or this fragment belongs to none.
    fn without_its_pieces(&mut self, at: usize) {
        let offset = self.offset + at as u64;
        self.content.clear();
        let from = self.open.take().unwrap_or(offset);
        self.damage.get_or_insert(Damage {
            from,
            why: Why::Pieces,
        });
    }

    /// Bytes are damaged, and yet it is known what must come behind them.
    fn damaged(&mut self, at: usize, why: Why) {
        let from = self.offset + at as u64;
        self.damage.get_or_insert(Damage { from, why });
    }

    /// What comes is not known up to the next sound head. A batch that was begun is lost with it.
    fn lost(&mut self, at: usize, why: Why) {
        self.damaged(at, why);
        self.sequence = None;
        self.content.clear();
        if let (Some(open), Some(damage)) = (self.open.take(), &mut self.damage) {
            damage.from = damage.from.min(open);
        }
    }

    fn sound_again(&mut self, to: u64, found: &mut impl FnMut(Scanned<'_>)) {
        if let Some(Damage { from, why }) = self.damage.take() {
            found(Scanned::Damage { from, to, why });
        }
    }
}

/// The sequence that the head of a block tells.
fn head(block: &[u8], salt: u64, number: u64) -> Result<u64, Why> {
    let (head, _) = block.split_first_chunk::<HEAD_BYTES>().ok_or(Why::End)?;
    let (sequence, crc) = head.split_first_chunk::<8>().ok_or(Why::End)?;
    if head_crc(salt, number, sequence).to_le_bytes() != *crc {
        return Err(Why::Head);
    }
    Ok(u64::from_le_bytes(*sequence))
}

/// The kind and the content of the fragment at the head of what is left of a block.
fn fragment(
    rest: &[u8],
    is_last_block: bool,
    salt: u64,
    sequence: u64,
) -> Result<(Kind, &[u8]), Why> {
    let (crc, sealed) = rest.split_first_chunk::<4>().ok_or(Why::End)?;
    let &[low, high, kind] = sealed.first_chunk().ok_or(Why::End)?;
    let kind = Kind::from_byte(kind).ok_or(Why::Fragment)?;
    let len = 3 + usize::from(u16::from_le_bytes([low, high]));
    // Beyond the end of a file, or beyond that of a block, which none is.
    let beyond = match is_last_block {
        true => Why::End,
        false => Why::Fragment,
    };
    let sealed = sealed.get(..len).ok_or(beyond)?;
    if fragment_crc(salt, sequence, sealed).to_le_bytes() != *crc {
        return Err(Why::Fragment);
    }
    Ok((kind, &sealed[3..]))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header of the segment is damaged"),
            Self::Head => f.write_str("the head of a block is damaged"),
            Self::Fragment => f.write_str("a checksum is wrong"),
            Self::Padding => f.write_str("the end of a block is not zero"),
            Self::Pieces => f.write_str("a batch of records lacks pieces"),
            Self::Record(error) => error.fmt(f),
            Self::End => f.write_str("the file ends"),
        }
    }
}
