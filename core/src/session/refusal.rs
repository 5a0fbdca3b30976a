//! Registrations that are not taken: why, whether asking again can help, and what an operator wants to know of them.

use std::fmt;

use crate::limits;
use crate::message::glance::excerpt;
use crate::publisher::Order;
use crate::stats::Stats;

use super::answer::Kind;

/// A registration that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What it was.
    pub kind: Kind,
    /// Echoed.
    pub version: i64,
    /// Why.
    pub refusal: Refusal,
    /// The service. Of a long name only the beginning.
    pub service: String,
    /// The application. Of a long name only the beginning.
    pub app: String,
}

impl Refused {
    /// The beginnings of names, for the log.
    pub(super) fn new(
        kind: Kind,
        version: i64,
        refusal: Refusal,
        service: &str,
        app: &str,
    ) -> Box<Self> {
        Box::new(Self {
            kind,
            version,
            refusal,
            service: excerpt(service),
            app: excerpt(app),
        })
    }
}

/// Why a registration is not taken. The text names what must change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field that must be there is null or blank.
    Missing(&'static str),
    /// The event type is neither REGISTER nor UNREGISTER.
    UnknownEventType(String),
    /// One connection has as many registrations as it may.
    TooManyRegistrations,
    /// The node knows as many services as it may.
    TooManyServices,
    /// The services here hold as many bytes as they may.
    TooManyBytes {
        /// What they may hold.
        limit: usize,
    },
    /// The service has publishers in as many zones as it may.
    TooManyZones,
    /// As many connections declare this registration as may.
    TooManyClaims,
    /// The list of the service would be longer than it may.
    ListTooLong {
        /// The bound.
        bytes_max: usize,
    },
    /// What was removed is newer than this registration.
    Superseded {
        /// The order of the removal. What the connection asks next counts as later.
        by: Order,
    },
}

impl Refusal {
    /// Whether the registration itself is what can never be taken. Its client is told never to ask again: one that is not told so
    /// asks twice a second for as long as it lives. What time or an operator can change is no such reason, as a client that was
    /// told so keeps silent even when it connects anew.
    pub fn is_for_good(&self) -> bool {
        match self {
            Self::Missing(_) | Self::UnknownEventType(_) => true,
            Self::TooManyRegistrations
            | Self::TooManyServices
            | Self::TooManyBytes { .. }
            | Self::TooManyZones
            | Self::TooManyClaims
            | Self::ListTooLong { .. }
            | Self::Superseded { .. } => false,
        }
    }

    /// One word for its kind, the same for all of a kind.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::UnknownEventType(_) => "event_type",
            Self::TooManyRegistrations => "registrations_per_connection",
            Self::TooManyServices => "data_info_ids",
            Self::TooManyBytes { .. } => "bytes",
            Self::TooManyZones => "zones",
            Self::TooManyClaims => "claims",
            Self::ListTooLong { .. } => "list_bytes",
            Self::Superseded { .. } => "superseded",
        }
    }

    /// Counts it under the bound that it names.
    pub(super) fn count(&self, stats: &mut Stats) {
        match self {
            Self::Missing(_) | Self::UnknownEventType(_) => {}
            Self::TooManyRegistrations => stats.refused_connection_registrations += 1,
            Self::TooManyServices => stats.refused_data_info_ids += 1,
            Self::TooManyBytes { .. } => stats.refused_bytes += 1,
            Self::TooManyZones => stats.refused_zones += 1,
            Self::TooManyClaims => stats.refused_claims += 1,
            Self::ListTooLong { .. } => stats.refused_list_bytes += 1,
            Self::Superseded { .. } => stats.refused_superseded += 1,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(f, "{field} is missing"),
            Self::UnknownEventType(text) => {
                write!(f, "event type {text:?} is neither REGISTER nor UNREGISTER")
            }
            Self::TooManyRegistrations => write!(
                f,
                "this connection has {} registrations, which is the limit",
                limits::REGISTRATIONS_PER_CONNECTION_MAX
            ),
            Self::TooManyServices => write!(
                f,
                "this core knows {} services, which is the limit",
                limits::SERVICES_PER_CORE_MAX
            ),
            Self::TooManyBytes { limit } => write!(
                f,
                "the services of this core may hold {limit} bytes, and this is more: [session] published_bytes_max"
            ),
            Self::TooManyZones => write!(
                f,
                "the service has publishers in {} zones, which is the limit",
                limits::ZONES_PER_DATUM_MAX
            ),
            Self::TooManyClaims => write!(
                f,
                "{} connections declare this registration id, which is the limit",
                limits::CLAIMS_PER_REGISTRATION_MAX
            ),
            Self::ListTooLong { bytes_max } => write!(
                f,
                "the list of this service would take more than {bytes_max} bytes, which is the limit"
            ),
            Self::Superseded { by } => write!(
                f,
                "this registration was taken back at version {}: register it again, or under a higher version",
                by.version
            ),
        }
    }
}
