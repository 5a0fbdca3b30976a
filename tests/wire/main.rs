//! Golden bytes.
fn main() {}
