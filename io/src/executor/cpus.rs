//! Which CPUs this process may use: the affinity mask, as far as the quotas of its control groups reach.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sys;

/// The CPUs to put data cores on, one core each. Falls back to the first CPU if the host tells nothing.
pub fn available_cpus() -> Vec<usize> {
    let mut cpus = sys::allowed_cpus().unwrap_or_default();
    if cpus.is_empty() {
        cpus.push(0);
    }
    if let Some(quota) = quota_of_groups() {
        cpus.truncate(quota.max(1));
    }
    cpus
}

/// The smallest quota on the way from this process's group to the root, in whole CPUs, rounded up.
fn quota_of_groups() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(quota_of_group).min()
}

fn quota_of_group(line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let relative = Path::new(group.trim_start_matches('/'));
    let (root, read): (PathBuf, fn(&Path) -> Option<usize>) = if controllers.is_empty() {
        ("/sys/fs/cgroup".into(), quota_v2)
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        (format!("/sys/fs/cgroup/{controllers}").into(), quota_v1)
    } else {
        return None;
    };
    relative
        .ancestors()
        .filter_map(|group| read(&root.join(group)))
        .min()
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
        assert!(!available_cpus().is_empty());
    }
}
