//! Which CPUs this process may use: the affinity mask, and how many of them by the quotas of its control groups.

use std::fs;
use std::path::Path;

use crate::cgroup;
use crate::sys;

/// The CPUs that a process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus {
    /// Those of its affinity mask, which a cpuset narrows. The first CPU if the host tells nothing.
    pub allowed: Vec<usize>,
    /// How many of them at a time, where a quota of its control groups leaves less than all; which ones is the scheduler's choice.
    pub quota: Option<usize>,
}

/// What this host leaves to this process.
pub fn available_cpus() -> Cpus {
    let mut allowed = sys::allowed_cpus().unwrap_or_default();
    if allowed.is_empty() {
        allowed.push(0);
    }
    let quota = cgroup::least("cpu", quota_v2, quota_v1).map(|quota| quota.max(1));
    let quota = quota.filter(|quota| *quota < allowed.len());
    Cpus { allowed, quota }
}

impl Cpus {
    /// How many data cores they carry.
    pub fn count(&self) -> usize {
        self.quota.unwrap_or(self.allowed.len())
    }
}

fn quota_v2(group: &Path) -> Option<usize> {
    parse_v2(&fs::read_to_string(group.join("cpu.max")).ok()?)
}

fn parse_v2(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    whole_cpus(quota, period)
}

fn quota_v1(group: &Path) -> Option<usize> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    whole_cpus(quota.trim(), period.trim())
}

/// `max` and `-1` are no numbers, and so no quota.
fn whole_cpus(quota: &str, period: &str) -> Option<usize> {
    let quota: usize = quota.parse().ok()?;
    let period: usize = period.parse().ok().filter(|&period| period > 0)?;
    Some(quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cpus() {
        assert_eq!(parse_v2("150000 100000\n"), Some(2));
        assert_eq!(parse_v2("50000 100000\n"), Some(1));
        assert_eq!(parse_v2("max 100000\n"), None);
        assert_eq!(whole_cpus("-1", "100000"), None);
    }

    #[test]
    fn there_is_always_a_cpu() {
        let cpus = available_cpus();

        assert!(!cpus.allowed.is_empty() && cpus.count() > 0);
    }
}
