//! Builds the programs that drive the published clients, once, from their locks.
//!
//! Test processes share what was built: a file lock keeps them apart, and a stamp says from which sources it came. A laptop without the
//! toolchain skips loudly; continuous integration fails.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A published client, as its package registry names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Published {
    /// `com.alipay.sofa:registry-client-all` of this version.
    Java(&'static str),
    /// `sofa-registry-node`.
    Node,
}

/// Every client that must work.
pub const EVERY_CLIENT: [Published; 5] = [
    Published::Java("5.4.2"),
    Published::Java("5.4.3"),
    Published::Java("6.3.0"),
    Published::Java("6.5.6"),
    Published::Node,
];

/// The oldest and the newest Java client and the Node client, where all five would tell no more.
pub const ONE_OF_EACH: [Published; 3] = [
    Published::Java("5.4.2"),
    Published::Java("6.5.6"),
    Published::Node,
];

impl Published {
    /// The command that runs its driver; nothing where the toolchain is absent.
    pub fn command(self) -> Option<Command> {
        match self {
            Self::Java(version) => java(version),
            Self::Node => node(),
        }
    }
}

fn java(version: &str) -> Option<Command> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let folder = clients().join("java");
    let built = BUILT.get_or_init(|| {
        // The oldest tool that is needed comes last, so that its absence is what is told.
        present("Java clients", &["java", "javac", "mvn"])
            && build(
                &folder,
                "target",
                &[
                    "pom.xml",
                    "src",
                    "client-5.4.2",
                    "client-5.4.3",
                    "client-6.3.0",
                    "client-6.5.6",
                ],
                build_java,
            )
    });
    let target = folder.join(format!("client-{version}/target"));
    built.then(|| {
        let mut command = Command::new("java");
        // Many drivers share few cores: little heap, one collector thread, the quick compiler.
        command.args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xmx256m",
            "-cp",
        ]);
        command
            .arg(format!("{0}/classes:{0}/lib/*", target.display()))
            .arg("rollcall.Driver");
        command
    })
}

fn build_java(folder: &Path) {
    run(Command::new("mvn")
        .args(["--quiet", "--batch-mode", "package"])
        .current_dir(folder));
    for module in [
        "client-5.4.2",
        "client-5.4.3",
        "client-6.3.0",
        "client-6.5.6",
    ] {
        let module = folder.join(module);
        // Maven has no lock file: what it fetched is compared with what was fetched when the tests were written.
        run(Command::new("sha256sum")
            .args(["--check", "--quiet", "--strict", "../../libs.sha256"])
            .current_dir(module.join("target/lib")));
        let locked = fs::read_to_string(module.join("libs.sha256"))
            .expect("the lock of the module")
            .lines()
            .count();
        let fetched = fs::read_dir(module.join("target/lib"))
            .expect("the build copied jars")
            .count();
        assert_eq!(
            fetched,
            locked,
            "{} holds jars that are not in its lock",
            module.display()
        );
    }
}

fn node() -> Option<Command> {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let folder = clients().join("node");
    let built = BUILT.get_or_init(|| {
        present("Node client", &["node", "npm"])
            && build(
                &folder,
                "node_modules",
                &["package.json", "package-lock.json"],
                |folder| {
                    run(Command::new("npm")
                        .args(["ci", "--no-progress", "--loglevel=error"])
                        .current_dir(folder));
                },
            )
    });
    built.then(|| {
        let mut command = Command::new("node");
        command.arg(folder.join("driver.js"));
        command
    })
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Whether all tools are there; if not, says so, and fails where skipping would hide something.
fn present(what: &str, tools: &[&str]) -> bool {
    let absent: Vec<_> = tools.iter().filter(|tool| !answers(tool)).collect();
    if absent.is_empty() {
        return true;
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{what}: {absent:?} must be installed where CI=true"
    );
    eprintln!("\n==== SKIPPED: tests with the {what}, because {absent:?} is not installed ====\n");
    false
}

fn answers(tool: &str) -> bool {
    let asked = Command::new(tool)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Runs `make` unless `output` was made from the same sources.
fn build(folder: &Path, output: &str, sources: &[&str], make: impl FnOnce(&Path)) -> bool {
    let lock = File::create(folder.join(".lock")).expect("the folder of a driver is writable");
    lock.lock().expect("a file can be locked");
    let stamp_file = folder.join(".built");
    let stamp = stamp(folder, sources);
    let fresh = fs::read_to_string(&stamp_file).is_ok_and(|made| made == stamp)
        && has_output(folder, output);
    if !fresh {
        make(folder);
        fs::write(&stamp_file, stamp).expect("the folder of a driver is writable");
    }
    true
}

fn has_output(folder: &Path, output: &str) -> bool {
    let modules: Vec<_> = fs::read_dir(folder)
        .expect("the folder of a driver")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("client-"))
        .collect();
    if modules.is_empty() {
        folder.join(output).exists()
    } else {
        modules
            .iter()
            .all(|module| module.path().join(output).exists())
    }
}

fn stamp(folder: &Path, sources: &[&str]) -> String {
    let mut files = BTreeSet::new();
    sources
        .iter()
        .for_each(|source| collect(&folder.join(source), &mut files));
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        fs::read(&file)
            .expect("a source of a driver")
            .hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

fn collect(path: &Path, files: &mut BTreeSet<PathBuf>) {
    if path.is_file() {
        files.insert(path.to_owned());
    } else if path.file_name().is_some_and(|name| name != "target") {
        let entries =
            fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries
            .filter_map(Result::ok)
            .for_each(|entry| collect(&entry.path(), files));
    }
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
}
