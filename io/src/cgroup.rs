//! What the control groups of this process leave of the host, from its own group up to the root.

use std::fs;
use std::path::{Path, PathBuf};

/// The least that any group on the way allows. `v2` and `v1` read a group's folder; the latter is one of `controller`.
pub(crate) fn least<T: Ord>(
    controller: &str,
    v2: fn(&Path) -> Option<T>,
    v1: fn(&Path) -> Option<T>,
) -> Option<T> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of_group = |line| {
        let (root, relative, is_v2) = folder(line, controller)?;
        let read = if is_v2 { v2 } else { v1 };
        relative
            .ancestors()
            .filter_map(|group| read(&root.join(group)))
            .min()
    };
    groups.lines().filter_map(of_group).min()
}

/// The mount, the path in it, and whether it is the unified hierarchy, of a line such as `0::/system.slice`.
fn folder<'a>(line: &'a str, controller: &str) -> Option<(PathBuf, &'a Path, bool)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, group) = (fields.next()?, fields.next()?);
    let relative = Path::new(group.trim_start_matches('/'));
    if controllers.is_empty() {
        return Some(("/sys/fs/cgroup".into(), relative, true));
    }
    let is_its = controllers.split(',').any(|known| known == controller);
    is_its.then(|| {
        let root = format!("/sys/fs/cgroup/{controllers}").into();
        (root, relative, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hierarchy_has_its_folder() {
        let v2 = folder("0::/system.slice/rollcall.service", "cpu");
        let v1 = folder("4:cpu,cpuacct:/docker/1", "cpu");

        let here = Path::new("system.slice/rollcall.service");
        assert_eq!(v2, Some(("/sys/fs/cgroup".into(), here, true)));
        let there = Path::new("docker/1");
        assert_eq!(
            v1,
            Some(("/sys/fs/cgroup/cpu,cpuacct".into(), there, false))
        );
        assert_eq!(folder("4:cpu,cpuacct:/docker/1", "memory"), None);
    }
}
