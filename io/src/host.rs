//! What tells this boot of the machine, and this life of the process, from every other.

use std::fs;
use std::hash::{BuildHasher, RandomState};

/// A new one with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Equal in two processes only if the machine did not go down between them. Where the kernel does not say, no two are equal.
pub fn boot_id() -> [u8; 16] {
    let said = fs::read_to_string(BOOT_ID).ok();
    let id = said.and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok());
    let unknown = || u128::from(random()) << 64 | u128::from(random());
    id.unwrap_or_else(unknown).to_be_bytes()
}

/// A number nobody outside can guess, from the seed that the standard library draws for its own tables.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Whether somebody keeps the clock of this host right, as far as the kernel knows.
pub fn clock_is_synchronised() -> Option<bool> {
    crate::sys::clock_is_synchronised()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_itself_and_a_number_is_new_each_time() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(boot_id(), [0; 16]);
        assert_ne!(random(), random());
    }
}
