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

const JAVA_VERSIONS: [&str; 4] = ["5.4.2", "5.4.3", "6.3.0", "6.5.6"];

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
    let built = BUILT.get_or_init(|| {
        let there = present("Java clients", &["java", "javac", "mvn"]);
        if there {
            let modules = JAVA_VERSIONS.map(|version| format!("client-{version}"));
            let driver = modules
                .each_ref()
                .map(|module| format!("{module}/target/classes"));
            let mut sources = vec!["pom.xml".to_owned(), "src".to_owned()];
            sources.extend(modules);
            build(&clients().join("java"), &driver, &sources, build_java);
        }
        there
    });
    let target = clients().join(format!("java/client-{version}/target"));
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
    for version in JAVA_VERSIONS {
        let module = folder.join(format!("client-{version}"));
        let jars = module.join("target/lib");
        // Maven has no lock file: what it fetched is compared with what was fetched when the tests were written.
        let lock = ["--check", "--quiet", "--strict", "../../libs.sha256"];
        run(Command::new("sha256sum").args(lock).current_dir(&jars));
        let locked = fs::read_to_string(module.join("libs.sha256"))
            .expect("the lock of the module")
            .lines()
            .count();
        let fetched = fs::read_dir(jars).expect("the build copied jars").count();
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
        let there = present("Node client", &["node", "npm"]);
        if there {
            let sources = ["package.json", "package-lock.json"].map(str::to_owned);
            build(
                &folder,
                &["node_modules/sofa-registry-node".to_owned()],
                &sources,
                |folder| {
                    run(Command::new("npm")
                        .args(["ci", "--no-progress", "--loglevel=error"])
                        .current_dir(folder));
                },
            );
        }
        there
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

/// Runs `make` unless all outputs were made from the same sources.
fn build(folder: &Path, outputs: &[String], sources: &[String], make: impl FnOnce(&Path)) {
    let lock = File::create(folder.join(".lock")).expect("the folder of a driver is writable");
    lock.lock().expect("a file can be locked");
    let stamp_file = folder.join(".built");
    let stamp = stamp(folder, sources);
    let same = fs::read_to_string(&stamp_file).is_ok_and(|made| made == stamp);
    if !same || outputs.iter().any(|output| !folder.join(output).exists()) {
        make(folder);
        fs::write(&stamp_file, stamp).expect("the folder of a driver is writable");
    }
}

fn stamp(folder: &Path, sources: &[String]) -> String {
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
