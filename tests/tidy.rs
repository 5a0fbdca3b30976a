//! The rules of the house, as tests: what nobody should have to say in a review.
//!
//! Each rule reads the files of the repository as text and lists every place that breaks it.

use std::fs;
use std::path::{Path, PathBuf};

/// What the owner wants to see at the top; dot files beside it are free.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "core",
    "io",
    "roles",
    "bench",
    "tests",
    "tuning",
    "README.md",
    "LICENSE",
];
/// What tools leave behind; none of it is in the repository.
const LEFT_BY_TOOLS: [&str; 6] = [
    "target",
    "node_modules",
    "corpus",
    "artifacts",
    "rollcall.data",
    ".git",
];
/// Which crates of ours a crate may import.
const IMPORTS: [(&str, &[&str]); 3] = [
    ("core", &[]),
    ("io", &["rollcall-core"]),
    ("roles", &["rollcall-core", "rollcall-io"]),
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 700;

/// What lengthens a queue: double-ended ones, and the vector in which the mesh keeps what finds no slot.
const GROWTH: [&str; 3] = [".push_back(", ".push_front(", "outbox.push("];
/// How far above such a line the comment on its bound may begin.
const BOUND_LINES_ABOVE_MAX: usize = 8;

const EVERYWHERE: &[&str] = &[""];
const OUTSIDE_IO: &[&str] = &["core/", "roles/", "bench/", "tests/"];
/// The yardstick of the bench does what the kernel must and nothing else, so it has a ring of its own.
const WITHOUT_RINGS: &[&str] = &["core/", "roles/", "tests/"];
/// What becomes the program; its unit tests may do what is banned from it.
const OURS: &[&str] = &["core/", "io/", "roles/"];
/// A text, the folders in whose files it must not stand, and what to do instead.
type Ban = (&'static str, &'static [&'static str], &'static str);
const BANNED: [Ban; 15] = [
    ("todo!(", EVERYWHERE, "finish it"),
    ("unimplemented!(", EVERYWHERE, "finish it"),
    ("dbg!(", EVERYWHERE, "assert or log it"),
    ("FIXME", EVERYWHERE, "fix it"),
    ("TODO", EVERYWHERE, "do it"),
    ("#[ignore", EVERYWHERE, "make it pass or remove it"),
    (
        "thread::sleep",
        &["tests/", "roles/tests/", "io/tests/"],
        "wait for the event",
    ),
    ("glommio::", OUTSIDE_IO, "the doors of rollcall-io"),
    ("io_uring::", WITHOUT_RINGS, "the doors of rollcall-io"),
    ("unbounded(", OURS, "a bound from limits.rs"),
    ("unbounded_channel", OURS, "a bound from limits.rs"),
    ("new_unbounded", OURS, "a bound from limits.rs"),
    (
        "mpsc::channel(",
        OURS,
        "sync_channel with a bound from limits.rs",
    ),
    (
        "mpsc::channel::<",
        OURS,
        "sync_channel with a bound from limits.rs",
    ),
    ("process::exit(0", OURS, "return from main"),
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// What becomes part of the program: nothing of a file of tests, else all above the tests.
    fn program(&self) -> &str {
        if self.path.contains("/tests/") || self.path.ends_with("/tests.rs") {
            return "";
        }
        self.text
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default()
    }

    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    let silent = rust_sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "));

    tidy(silent.map(|source| format!("{}: open with //! and what this file is", source.path)));
}

#[test]
fn nothing_banned_is_used() {
    let mut faults = Vec::new();
    for source in rust_sources() {
        for (text, folders, instead) in BANNED.iter().filter(|ban| source.is_in(ban.1)) {
            // Unit tests may do what the program must not.
            let looked_at = if *folders == OURS {
                source.program()
            } else {
                &source.text
            };
            for (at, _) in looked_at.match_indices(text) {
                let number = looked_at[..at].matches('\n').count() + 1;
                faults.push(format!("{}:{number}: {text}: {instead}", source.path));
            }
        }
    }

    tidy(faults);
}

#[test]
fn every_exemption_from_a_lint_has_a_reason() {
    let mut faults = Vec::new();
    for source in rust_sources() {
        let exemptions = ["#[allow(", "#![allow(", "#[expect(", "#![expect("];
        for start in exemptions
            .iter()
            .flat_map(|exemption| source.text.match_indices(exemption))
        {
            let attribute = source.text[start.0..].split(']').next().unwrap_or_default();
            if !attribute.contains("reason = ") {
                let number = source.text[..start.0].matches('\n').count() + 1;
                faults.push(format!(
                    "{}:{number}: {}: give a reason",
                    source.path, start.1
                ));
            }
        }
    }

    tidy(faults);
}

#[test]
fn functions_fit_on_a_screen_and_files_in_a_head() {
    let sources = rust_sources();
    let long_files = sources
        .iter()
        .filter(|source| source.text.lines().count() > FILE_LINES_MAX);
    let files = long_files.map(|source| {
        format!(
            "{}: more than {FILE_LINES_MAX} lines: move a noun out",
            source.path
        )
    });
    let functions = sources.iter().flat_map(long_functions);

    tidy(files.chain(functions));
}

#[test]
fn a_queue_is_bounded_where_it_grows() {
    let ours = rust_sources();
    let ours = ours.iter().filter(|source| source.is_in(OURS));

    tidy(ours.flat_map(|source| unbounded_growth(&source.path, source.program())));
}

#[test]
fn java_names_stay_in_the_wire_files() {
    let mut faults = Vec::new();
    for source in rust_sources()
        .into_iter()
        .filter(|source| source.is_in(OURS) && !source.is_in(&["core/src/message"]))
    {
        let code = source
            .lines()
            .filter(|(_, line)| !line.trim_start().starts_with("//"));
        let java = code.filter(|(_, line)| line.contains("com.alipay."));
        faults.extend(java.map(|(number, _)| {
            format!(
                "{}:{number}: Java class name: use core/src/message",
                source.path
            )
        }));
    }

    tidy(faults);
}

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for (folder, allowed) in IMPORTS {
        for dependency in dependencies(folder) {
            let ours =
                dependency.starts_with("rollcall") && !allowed.contains(&dependency.as_str());
            let runtime = matches!(dependency.as_str(), "glommio" | "io-uring") && folder != "io";
            if ours || runtime {
                faults.push(format!(
                    "{folder}/Cargo.toml: must not depend on {dependency}"
                ));
            }
        }
    }

    tidy(faults);
}

#[test]
fn the_top_level_is_the_owners() {
    let entries = fs::read_dir(root()).expect("the repository");
    let names = entries.map(|entry| {
        entry
            .expect("a readable entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let known = |name: &str| {
        name.starts_with('.') || TOP_LEVEL.contains(&name) || LEFT_BY_TOOLS.contains(&name)
    };
    let strange = names
        .filter(|name| !known(name))
        .map(|name| format!("{name}: not one of {TOP_LEVEL:?}"));
    let missing = TOP_LEVEL
        .iter()
        .filter(|name| !root().join(name).exists())
        .map(|name| format!("{name}: missing"));

    tidy(strange.chain(missing));
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let checkout = format!("{}/", root().display());
    let homes = [checkout.as_str(), "/root/", "/home/", "/Users/"];
    let mut faults = Vec::new();
    for source in text_files() {
        for (number, line) in source.lines() {
            let home = homes.iter().find(|home| starts_a_path(line, home));
            faults.extend(
                home.map(|home| format!("{}:{number}: path of one machine: {home}", source.path)),
            );
        }
    }

    tidy(faults);
}

#[test]
fn every_path_of_the_code_map_exists() {
    let readme = read("README.md");
    let map = readme
        .split("## Code map")
        .nth(1)
        .expect("README has a code map");
    let map = map.split("\n## ").next().unwrap_or_default();
    let quoted = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.contains('/'));
    let paths: Vec<_> = quoted.collect();
    let missing = paths.iter().filter(|path| !root().join(path).exists());

    assert!(paths.len() > 20, "the code map was not found in README.md");
    tidy(missing.map(|path| format!("README.md: code map: {path} does not exist")));
}

#[test]
fn the_gate_runs_the_very_test_command_of_the_readme() {
    let readme = read("README.md");
    let command = readme
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("cargo test"));
    let command = command
        .expect("README has a test command")
        .split("  #")
        .next()
        .unwrap_or_default()
        .trim_end();

    let gate = read(".ci/run");

    let runs =
        |line: &str| !line.trim_start().starts_with('#') && line.trim_end().ends_with(command);
    assert!(gate.lines().any(runs), ".ci/run does not run `{command}`");
}

/// Fails with every fault on a line of its own.
fn tidy(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<_> = faults.into_iter().collect();
    assert!(
        faults.is_empty(),
        "{} to tidy:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
        .to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file but this one, which has to name what it bans.
fn rust_sources() -> Vec<Source> {
    let rust = |source: &Source| source.path.ends_with(".rs") && source.path != "tests/tidy.rs";
    text_files().into_iter().filter(rust).collect()
}

fn text_files() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.retain(|source| source.path != "tests/tidy.rs" && !source.path.ends_with(".lock"));
    assert!(files.len() > 10, "the repository was not found");
    files
}

fn collect(folder: &Path, files: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if LEFT_BY_TOOLS.contains(&name.as_ref()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path
                .strip_prefix(root())
                .expect("found below the root")
                .to_string_lossy()
                .into_owned();
            files.push(Source { path, text });
        }
    }
}

fn dependencies(folder: &str) -> Vec<String> {
    let manifest = read(&format!("{folder}/Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Functions whose closing brace, at their own depth, comes too late.
fn long_functions(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, usize, &str)> = None;
    for (number, line) in source.lines() {
        let depth = line.len() - line.trim_start().len();
        match open {
            None if is_function(line.trim_start()) && !line.ends_with(['}', ';']) => {
                open = Some((number, depth, line))
            }
            Some((start, at, head)) if depth == at && line.trim_start().starts_with('}') => {
                if number - start >= FUNCTION_LINES_MAX {
                    let lines = number - start + 1;
                    faults.push(format!(
                        "{}:{start}: {lines} lines: {}",
                        source.path,
                        head.trim()
                    ));
                }
                open = None;
            }
            // A declaration that ends over several lines has no body.
            Some((_, at, _)) if depth == at && line.ends_with(';') => open = None,
            _ => {}
        }
    }
    faults
}

/// Lines that lengthen a queue, with no bound in sight: the function uses no limit, and no comment just above says what bounds the queue.
fn unbounded_growth(path: &str, program: &str) -> Vec<String> {
    let lines: Vec<_> = program.lines().map(str::trim_start).collect();
    let mut faults = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !GROWTH.iter().any(|growth| line.contains(growth)) {
            continue;
        }
        let head = lines[..index].iter().rposition(|line| is_function(line));
        let end = lines[index..].iter().position(|line| is_function(line));
        let function = &lines[head.unwrap_or(0)..end.map_or(lines.len(), |end| index + end)];
        let mut code = function.iter().filter(|line| !line.starts_with("//"));
        let uses_limit = code.any(|line| {
            let mut limits = line.split("limits::").skip(1);
            limits.any(|rest| {
                rest.split(|c: char| !is_of_name(c))
                    .next()
                    .is_some_and(|name| name.ends_with("_MAX"))
            })
        });
        let mut above = lines[index.saturating_sub(BOUND_LINES_ABOVE_MAX)..index].iter();
        if !uses_limit && !above.any(|line| line.starts_with("// Bounded by ")) {
            let number = index + 1;
            faults.push(format!(
                "{path}:{number}: a queue grows: compare with a limit, or say `// Bounded by …`"
            ));
        }
    }
    faults
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(
            *word,
            "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\""
        ) || word.starts_with("pub(")
    });
    words.next() == Some("fn")
}

/// Whether `home` stands in `line` as the start of a path, and not as the middle of one.
fn starts_a_path(line: &str, home: &str) -> bool {
    let before = |at: usize| line[..at].chars().next_back();
    let starts = |at| {
        before(at)
            .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '}' | ')' | '~'))
    };
    line.match_indices(home).any(|(at, _)| starts(at))
}

#[test]
fn a_function_is_measured_from_its_head_to_its_brace() {
    let body = "        count += 1;\n".repeat(FUNCTION_LINES_MAX - 2);
    let declared = "    fn declared(\n        &self,\n    ) -> bool;\n";
    let fits = format!("{declared}    pub(crate) async fn fits() {{\n{body}    }}\n");
    let long = format!("{declared}    pub(crate) async fn long() {{\n{body}\n    }}\n");
    let measured = |text: String| {
        long_functions(&Source {
            path: "a.rs".to_owned(),
            text,
        })
    };

    assert_eq!(measured(fits), Vec::<String>::new());
    assert_eq!(
        measured(long),
        ["a.rs:4: 71 lines: pub(crate) async fn long() {"]
    );
}

#[test]
fn a_queue_grows_only_beside_its_bound() {
    let growing = |before: &str, after: &str| {
        let program =
            format!("fn f() {{\n{before}    self.queue.push_back(1);\n{after}}}\nfn g() {{}}\n");
        unbounded_growth("a.rs", &program).len()
    };

    assert_eq!(growing("", ""), 1);
    assert_eq!(growing("    // limits::THINGS_MAX\n", ""), 1, "named only");
    assert_eq!(growing("    wait(limits::RETRY);\n", ""), 1, "no bound");
    assert_eq!(
        growing("    // Bounded by the things: each is in it once.\n", ""),
        0
    );
    assert_eq!(
        growing("", "    if self.queue.len() > limits::THINGS_MAX {}\n"),
        0
    );
}
