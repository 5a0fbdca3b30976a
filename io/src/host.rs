//! What tells this boot of the machine, and this life of the process, from every other; and how much memory there is.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use crate::cgroup;

/// A new one with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Equal in two processes only if the machine did not go down between them. Where the kernel does not say, no two are equal.
pub fn boot_id() -> [u8; 16] {
    let said = fs::read_to_string(BOOT_ID).ok();
    let id = said.and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok());
    let unknown = || u128::from(random()) << 64 | u128::from(random());
    id.unwrap_or_else(unknown).to_be_bytes()
}

/// Bytes of memory that this process may use: what its control groups allow, or else what the machine has.
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text));
    let of_groups = cgroup::least(
        "memory",
        |group| bytes(&group.join("memory.max")),
        |group| bytes(&group.join("memory.limit_in_bytes")),
    );
    [machine, of_groups].into_iter().flatten().min()
}

/// A limit in a file; `max` is none.
fn bytes(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
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
    fn the_memory_of_a_host_is_known() {
        assert_eq!(
            total("MemTotal:       16384 kB\nMemFree: 1 kB\n"),
            Some(16 << 20)
        );
        assert!(memory_bytes().is_some_and(|bytes| bytes > 64 << 20));
    }

    #[test]
    fn a_boot_is_itself_and_a_number_is_new_each_time() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(boot_id(), [0; 16]);
        assert_ne!(random(), random());
    }
}
