//! What publishers, subscribers and configurators have in common: who registers what.

use std::borrow::Cow;

use super::MessageError;
use super::fields::read_name;
use crate::hessian::{Reader, Writer};

/// The fields of the Java class `BaseRegister` that clients set; it is never sent by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseRegister<'a> {
    /// Tenant.
    pub instance_id: Option<Cow<'a, str>>,
    /// Zone of the client.
    pub zone: Option<Cow<'a, str>>,
    /// Name of the application.
    pub app_name: Option<Cow<'a, str>>,
    /// What is published or subscribed to.
    pub data_id: Option<Cow<'a, str>>,
    /// Its group.
    pub group: Option<Cow<'a, str>>,
    /// The client's name for this registration, for the life of its process.
    pub regist_id: Option<Cow<'a, str>>,
    /// Whether to register or to take back.
    pub event_type: EventType<'a>,
    /// Counts the changes of this registration; the answer must repeat it.
    pub version: Option<i64>,
    /// When the client made or renewed the registration, in its own milliseconds.
    pub timestamp: Option<i64>,
    /// What the client takes for its address; not to be believed.
    pub ip: Option<Cow<'a, str>>,
}

/// What a registration wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventType<'a> {
    /// Be registered.
    #[default]
    Register,
    /// Be registered no longer.
    Unregister,
    /// Something unknown; a missing one is the text `null`.
    Other(Cow<'a, str>),
}

impl<'a> EventType<'a> {
    /// Its text on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Register => "REGISTER",
            Self::Unregister => "UNREGISTER",
            Self::Other(text) => text,
        }
    }

    fn from_wire(text: Option<Cow<'a, str>>) -> Self {
        match text {
            Some(text) if text == "REGISTER" => Self::Register,
            Some(text) if text == "UNREGISTER" => Self::Unregister,
            Some(text) => Self::Other(text),
            None => Self::Other("null".into()),
        }
    }
}

/// The fields in the order in which Java writes them. `attributes` is not among them: it comes last of all.
pub(super) const FIELDS: [&str; 14] = [
    "instanceId",
    "zone",
    "appName",
    "dataId",
    "group",
    "processId",
    "registId",
    "clientId",
    "dataInfoId",
    "ip",
    "port",
    "eventType",
    "version",
    "timestamp",
];

/// The map of authentication attributes, behind the fields of the subclass.
pub(super) const ATTRIBUTES: &str = "attributes";

impl<'a> BaseRegister<'a> {
    /// What a message without any field is.
    pub(super) fn empty() -> Self {
        Self {
            event_type: EventType::from_wire(None),
            ..Self::default()
        }
    }

    /// Reads the field of this name, or reads nothing and says false.
    pub(super) fn read_field(
        &mut self,
        name: &[u8],
        reader: &mut Reader<'a>,
    ) -> Result<bool, MessageError> {
        match name {
            b"instanceId" => self.instance_id = read_name(reader, "instanceId")?,
            b"zone" => self.zone = read_name(reader, "zone")?,
            b"appName" => self.app_name = read_name(reader, "appName")?,
            b"dataId" => self.data_id = read_name(reader, "dataId")?,
            b"group" => self.group = read_name(reader, "group")?,
            b"registId" => self.regist_id = read_name(reader, "registId")?,
            b"ip" => self.ip = read_name(reader, "ip")?,
            b"eventType" => self.event_type = EventType::from_wire(read_name(reader, "eventType")?),
            b"version" => self.version = reader.long()?,
            b"timestamp" => self.timestamp = reader.long()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads the values of [`FIELDS`].
    pub(super) fn read_fields(&mut self, reader: &mut Reader<'a>) -> Result<(), MessageError> {
        self.instance_id = read_name(reader, "instanceId")?;
        self.zone = read_name(reader, "zone")?;
        self.app_name = read_name(reader, "appName")?;
        self.data_id = read_name(reader, "dataId")?;
        self.group = read_name(reader, "group")?;
        reader.skip()?;
        self.regist_id = read_name(reader, "registId")?;
        reader.skip()?;
        reader.skip()?;
        self.ip = read_name(reader, "ip")?;
        reader.skip()?;
        self.event_type = EventType::from_wire(read_name(reader, "eventType")?);
        self.version = reader.long()?;
        self.timestamp = reader.long()?;
        Ok(())
    }

    /// Writes the values of [`FIELDS`].
    pub(super) fn write_fields(&self, writer: &mut Writer<'_>) {
        writer.optional_text(self.instance_id.as_deref());
        writer.optional_text(self.zone.as_deref());
        writer.optional_text(self.app_name.as_deref());
        writer.optional_text(self.data_id.as_deref());
        writer.optional_text(self.group.as_deref());
        writer.null();
        writer.optional_text(self.regist_id.as_deref());
        writer.null();
        writer.null();
        writer.optional_text(self.ip.as_deref());
        writer.null();
        writer.text(self.event_type.as_str());
        write_optional_long(writer, self.version);
        write_optional_long(writer, self.timestamp);
    }
}

/// Writes the attributes as a Java client does that has none.
pub(super) fn write_no_attributes(writer: &mut Writer<'_>) {
    writer.map();
    writer.end();
}

fn write_optional_long(writer: &mut Writer<'_>, value: Option<i64>) {
    match value {
        Some(value) => writer.long(value),
        None => writer.null(),
    }
}

/// The base fields between those of a subclass, as a constant: `head`, base, `tail`, attributes.
pub(super) const fn with_base<'f, const N: usize>(
    head: &[&'f str],
    tail: &[&'f str],
) -> [&'f str; N] {
    let mut fields = [ATTRIBUTES; N];
    let mut at = 0;
    let mut next = 0;
    while next < head.len() {
        fields[at] = head[next];
        (at, next) = (at + 1, next + 1);
    }
    next = 0;
    while next < FIELDS.len() {
        fields[at] = FIELDS[next];
        (at, next) = (at + 1, next + 1);
    }
    next = 0;
    while next < tail.len() {
        fields[at] = tail[next];
        (at, next) = (at + 1, next + 1);
    }
    assert!(at + 1 == N, "all fields and the attributes");
    fields
}
