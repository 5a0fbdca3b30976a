//! Hessian values in the 3.x dialect (the draft of Hessian 2): the serialization of every message of the registry.
//!
//! The final Hessian 2 is another dialect with other bytes; no client of the registry speaks it. [`Reader`] is safe
//! against whatever a peer sends: each size is checked against what is there before anything is kept, nesting and the number
//! of values are bounded, and a reader that skips keeps the tables of classes, types and references right.

mod class;
mod cursor;
mod error;
mod heads;
mod reader;
mod spill;
mod text;
mod value;
mod writer;

pub use class::{Class, Definition, definition, definition_len};
pub use error::HessianError;
pub use reader::{List, Reader};
pub use text::{LoneSurrogate, Text};
pub use value::Value;
pub use writer::{Writer, text_len};
