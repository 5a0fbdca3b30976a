//! Tells the program when it was built: a clock that is earlier is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH);
    let built_at = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| now().map_or(0, |since| since.as_secs()));
    println!("cargo::rustc-env=ROLLCALL_BUILT_AT={built_at}");
}
