//! The words of the registry as types: what a service is called, who registered it, on which connection.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod interner;
mod uuid;

pub use interner::Interner;
pub use uuid::Uuid;

/// Instance id of a client that names none.
pub const DEFAULT_INSTANCE_ID: &str = "DEFAULT_INSTANCE_ID";
/// Zone of a publisher or subscriber that names none.
pub const DEFAULT_ZONE: &str = "DEFAULT_ZONE";
/// Group of a registration that names none.
pub const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// The one data center of 5.4.2's pushes and of `availableSegments`; clients compare the two.
pub const DEFAULT_DATA_CENTER: &str = "DefaultDataCenter";

/// A shared piece of text: zone, application, client version.
pub type Name = Arc<str>;

/// What is published and subscribed to: data id, instance id (tenant) and group.
///
/// Three parts, never one text that is split: a data id may itself contain the separator `#@#`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "StoredParts", into = "StoredParts")]
pub struct DataInfoId(Arc<DataInfoIdParts>);

/// The three parts one behind the other: one allocation, one comparison.
#[derive(Debug, PartialEq, Eq)]
struct DataInfoIdParts {
    ring_hash: u64,
    data_id_len: u32,
    instance_id_len: u32,
    text: Box<str>,
}

/// The form in which operators' values are kept.
#[derive(Serialize, Deserialize)]
struct StoredParts {
    ring_hash: u64,
    data_id: Box<str>,
    instance_id: Box<str>,
    group: Box<str>,
}

impl From<StoredParts> for DataInfoId {
    fn from(stored: StoredParts) -> Self {
        Self::new(&stored.data_id, &stored.instance_id, &stored.group)
    }
}

impl From<DataInfoId> for StoredParts {
    fn from(id: DataInfoId) -> Self {
        Self {
            ring_hash: id.ring_hash(),
            data_id: id.data_id().into(),
            instance_id: id.instance_id().into(),
            group: id.group().into(),
        }
    }
}

impl DataInfoId {
    /// The id with these parts; blank ones become the registry's defaults (`sofaregistry-wire.md` section 4).
    ///
    /// # Panics
    /// If a part is longer than 4 GiB.
    pub fn new(data_id: &str, instance_id: &str, group: &str) -> Self {
        let instance_id = or_default(instance_id, DEFAULT_INSTANCE_ID);
        let group = or_default(group, DEFAULT_GROUP);
        let len = |part: &str| u32::try_from(part.len()).expect("no name has 4 GiB");
        Self(Arc::new(DataInfoIdParts {
            ring_hash: ring_hash(data_id, instance_id, group),
            data_id_len: len(data_id),
            instance_id_len: len(instance_id),
            text: [data_id, instance_id, group].concat().into(),
        }))
    }

    /// The data id, as the application named it.
    pub fn data_id(&self) -> &str {
        &self.0.text[..self.0.data_id_len as usize]
    }

    /// The tenant.
    pub fn instance_id(&self) -> &str {
        let behind = &self.0.text[self.0.data_id_len as usize..];
        &behind[..self.0.instance_id_len as usize]
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.0.text[(self.0.data_id_len + self.0.instance_id_len) as usize..]
    }

    /// Bytes of its three parts.
    #[expect(
        clippy::len_without_is_empty,
        reason = "no id is empty: it has a group"
    )]
    pub fn len(&self) -> usize {
        self.0.text.len()
    }

    /// Its place on the ring: the same for ever and everywhere.
    pub fn ring_hash(&self) -> u64 {
        self.0.ring_hash
    }

    /// How many owners this shared id has; 1 means that only the caller's own copy is left.
    pub fn owners(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Whether both share one copy.
    pub fn is_same_copy(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn parts(&self) -> [&str; 3] {
        [self.data_id(), self.instance_id(), self.group()]
    }
}

impl PartialEq for DataInfoId {
    fn eq(&self, other: &Self) -> bool {
        self.is_same_copy(other) || self.0 == other.0
    }
}

impl Eq for DataInfoId {}

impl Hash for DataInfoId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.ring_hash.hash(state);
    }
}

impl PartialOrd for DataInfoId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DataInfoId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_hash = self.0.ring_hash.cmp(&other.0.ring_hash);
        by_hash.then_with(|| self.parts().cmp(&other.parts()))
    }
}

impl fmt::Display for DataInfoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}#@#{}#@#{}",
            self.data_id(),
            self.instance_id(),
            self.group()
        )
    }
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.trim().is_empty() {
        default
    } else {
        text
    }
}

/// FNV-1a over the three parts with a separator that no UTF-8 text contains, then a finishing mix.
///
/// Specified for ever: nodes of different builds must agree on it. FNV alone leaves the high bits of short keys alike.
fn ring_hash(data_id: &str, instance_id: &str, group: &str) -> u64 {
    let parts = [data_id, instance_id, group];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// The finalizer of SplitMix64: every input bit reaches every output bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// What [`mix`] made this of.
pub(crate) fn unmix(mixed: u64) -> u64 {
    let value = mixed ^ (mixed >> 31) ^ (mixed >> 62);
    let value = value.wrapping_mul(0x3196_42b2_d24d_8ec3);
    let value = value ^ (value >> 27) ^ (value >> 54);
    let value = value.wrapping_mul(0x96de_1b17_3f11_9089);
    value ^ (value >> 30) ^ (value >> 60)
}

/// The id a client gives one registration object, for the life of its process.
///
/// All known clients send a canonical UUID, which takes 16 bytes and no allocation here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RegisterId {
    /// A lower-case hyphenated UUID.
    Uuid(Uuid),
    /// Any other text.
    Text(Arc<str>),
}

impl RegisterId {
    /// The id for this text.
    pub fn new(text: &str) -> Self {
        match Uuid::parse(text.as_bytes()) {
            Some(uuid) => Self::Uuid(uuid),
            None => Self::Text(text.into()),
        }
    }

    /// Whether it is a UUID, as all known clients send.
    pub fn is_uuid(&self) -> bool {
        matches!(self, Self::Uuid(_))
    }

    /// Calls `with` with the id's text, without allocating.
    pub fn with_text<R>(&self, with: impl FnOnce(&str) -> R) -> R {
        match self {
            Self::Uuid(uuid) => {
                let text = uuid.text();
                with(std::str::from_utf8(&text).expect("hexadecimal digits and hyphens are ASCII"))
            }
            Self::Text(text) => with(text),
        }
    }
}

impl fmt::Display for RegisterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for RegisterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One data-plane core of this node, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct CoreId(pub u16);

impl CoreId {
    /// Its place in a table with one entry per core.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One node of the cluster.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeId(pub u64);

/// A member of the ring: one core of one node. It owns the shard of the ring that follows its points.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Member {
    /// Which node.
    pub node: NodeId,
    /// Which of its cores.
    pub core: CoreId,
}

/// One connection, never used again while the process lives: a slot is reused only under the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectId {
    /// The core that owns the socket.
    pub core: CoreId,
    /// The place in that core's table.
    pub slot: u32,
    /// How often the place was used before.
    pub generation: u32,
}

impl fmt::Display for ConnectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.core.0, self.slot, self.generation)
    }
}

/// How far a subscriber looks for publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Publishers of the subscriber's own zone.
    Zone,
    /// Publishers of all zones of the data center.
    DataCenter,
    /// Publishers of all data centers.
    Global,
}

impl Scope {
    /// The scope of this wire text; anything unknown is `Zone`, as in 5.4.2.
    pub fn from_wire(text: Option<&str>) -> Self {
        match text {
            Some("dataCenter") => Self::DataCenter,
            Some("global") => Self::Global,
            _ => Self::Zone,
        }
    }

    /// Its text on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::DataCenter => "dataCenter",
            Self::Global => "global",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_uuid_needs_no_allocation_and_keeps_its_text() {
        let text = "6ed653d2-e57c-4947-a14d-f8d1319bf4d4";

        let id = RegisterId::new(text);

        assert!(matches!(id, RegisterId::Uuid(_)));
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn an_upper_case_uuid_stays_the_text_it_is() {
        let text = "6ED653D2-E57C-4947-A14D-F8D1319BF4D4";

        assert_eq!(RegisterId::new(text).to_string(), text);
    }

    #[test]
    fn parts_that_join_to_the_same_text_are_different_ids() {
        let joined = DataInfoId::new("a#@#b", "c", "d");
        let split = DataInfoId::new("a", "b#@#c", "d");

        assert_ne!(joined, split);
        assert_ne!(joined.ring_hash(), split.ring_hash());
    }
}
