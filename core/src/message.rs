//! The messages of the registry: what the content of a Bolt frame means.
//!
//! [`Request`] is what clients ask, the other types are what they are told; each lives in a file with both directions, for
//! the load generator and the tests speak for clients. Class and field names are those of the Java classes, for they are the wire
//! format. Fields are found by name, whatever their order; what is unknown is skipped.

mod acknowledgement;
mod base_register;
mod boxes;
mod error;
mod fields;
pub(crate) mod glance;
mod request;

pub mod cancel_address_request;
pub mod configurator_register;
pub mod multi_received_data;
pub mod publisher_register;
pub mod received_config_data;
pub mod received_data;
pub mod register_response;
pub mod result;
pub mod server_exception;
pub mod subscriber_register;
pub mod sync_config_request;
pub mod sync_config_response;

pub use acknowledgement::{Acknowledgement, acknowledgement};
pub use base_register::{BaseRegister, EventType};
pub use boxes::Boxes;
pub use cancel_address_request::CancelAddressRequest;
pub use configurator_register::ConfiguratorRegister;
pub use error::MessageError;
pub use glance::Glance;
pub use publisher_register::PublisherRegister;
pub use received_config_data::ReceivedConfigData;
pub use received_data::ReceivedData;
pub use register_response::RegisterResponse;
pub use request::Request;
pub use result::PushResult;
pub use subscriber_register::SubscriberRegister;
pub use sync_config_request::SyncConfigRequest;
pub use sync_config_response::SyncConfigResponse;
