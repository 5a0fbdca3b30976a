//! The session machine, told what happened and asked what it does about it; time is a number.

mod agenda;
mod closes;
mod groups;
mod interests;
mod lanes;
mod node;
mod operators;
mod owners;
mod pushes;
mod questions;
mod registrations;
mod retries;
