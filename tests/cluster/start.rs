//! Starts that cannot succeed: one line that says what is wrong, and an exit code that says whose turn it is.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use rollcall_tests::program::{Addresses, Options, binary, signal};
use rollcall_tests::{Rollcall, eventually};

const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;

/// The exit code and what was said on standard error.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the server's binary runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn one_line(said: &str) -> &str {
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("rollcall: "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    lines[0]
}

on_one_and_two_cores! {
    fn a_taken_port_is_one_line_and_exit_code_69(cores: usize) {
        let node = Rollcall::start(cores);
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        let taken = node.addresses;
        let free = Addresses::free();

        for addresses in [
            Addresses { bolt: taken.bolt, ..free },
            Addresses { session: taken.session, ..free },
            Addresses { meta: taken.meta, ..free },
            Addresses { data: taken.data, ..free },
        ] {
            let (code, said) = outcome(&mut Options::cores(cores).command(&addresses, data_dir.path()));
            assert_eq!(code, Some(UNAVAILABLE), "{said}");
            let ports = [addresses.bolt, addresses.session, addresses.meta, addresses.data];
            let port = ports.iter().find(|address| [taken.bolt, taken.session, taken.meta, taken.data].contains(address));
            assert!(one_line(&said).contains(&port.expect("one is taken").port().to_string()), "{said}");
        }
    }

    fn a_data_directory_in_use_is_one_line_and_exit_code_69(cores: usize) {
        let node = Rollcall::start(cores);

        let (code, said) = outcome(&mut Options::cores(cores).command(&Addresses::free(), node.data_dir()));

        assert_eq!(code, Some(UNAVAILABLE), "{said}");
        let pid = node.pid();
        let must = format!("is in use by process {pid}; stop it or give --data-dir another one");
        assert!(one_line(&said).ends_with(&must), "{said}");
    }

    fn what_operators_set_is_never_forgotten_silently(cores: usize) {
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(data_dir.path().join("operators.redb"), "damaged").expect("a temporary folder");

        let (code, said) = outcome(&mut Options::cores(cores).command(&Addresses::free(), data_dir.path()));

        assert_eq!(code, Some(UNAVAILABLE), "{said}");
        assert!(one_line(&said).contains("operators.redb: damaged"), "{said}");
    }

    fn a_port_left_to_the_system_is_told_in_the_log(cores: usize) {
        let node = Rollcall::start(cores);
        let port = node.addresses.bolt.port().to_string();

        assert!(node.log().iter().any(|line| line.contains("listening") && line.contains(&port)), "{:#?}", node.log());
    }

    fn a_node_is_ready_soon(cores: usize) {
        binary();
        let started = Instant::now();

        let _node = Rollcall::start(cores);

        let took = started.elapsed();
        println!("{cores} cores: ready after {took:?}");
        // The promise is 100 ms on a quiet machine.
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[test]
fn a_bad_setting_is_exit_code_64() {
    let data_dir = tempfile::tempdir().expect("a temporary folder");
    let bad = Options::cores(1).set("session.idle_close_ms", "soon");

    let (code, said) = outcome(&mut bad.command(&Addresses::free(), data_dir.path()));

    assert_eq!(code, Some(USAGE), "{said}");
    assert!(one_line(&said).contains("soon"), "{said}");
}

#[test]
fn an_unknown_key_is_exit_code_64_and_the_nearest_name() {
    let data_dir = tempfile::tempdir().expect("a temporary folder");
    let file = data_dir.path().join("rollcall.toml");
    std::fs::write(&file, "[session]\nidle_close_sm = 1000\n").expect("a temporary folder");

    let (code, said) = outcome(Command::new(binary()).arg("--config").arg(&file));

    assert_eq!(code, Some(USAGE), "{said}");
    assert!(one_line(&said).contains("idle_close_ms"), "{said}");
}

#[test]
fn an_unknown_flag_is_exit_code_64() {
    let (code, said) = outcome(Command::new(binary()).arg("--no-such-flag"));

    assert_eq!(code, Some(USAGE), "{said}");
}

#[test]
fn no_cores_are_exit_code_64() {
    let (code, said) = outcome(Command::new(binary()).args(["--cores", "0"]));

    assert_eq!(code, Some(USAGE), "{said}");
    one_line(&said);
}

/// An operator who changes what is logged need not stop anything.
#[test]
fn a_hangup_reads_the_filter_of_the_log_again_and_stops_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("rollcall.toml");
    std::fs::write(&file, "[log]\nfilter = \"info\"\n").expect("a folder of ours");
    let node = Rollcall::with(Options::cores(1).variable("ROLLCALL_CONFIG", file.display()));
    let mut client = node.client();
    client.heartbeat();
    assert!(node.logged("client connected").is_empty());

    std::fs::write(&file, "[log]\nfilter = \"debug\"\n").expect("a folder of ours");
    signal(node.pid(), "HUP");
    eventually("the filter is read", || {
        !node.logged("the log's filter was read again").is_empty()
    });
    let mut late = node.client();
    late.heartbeat();

    eventually("more is logged", || {
        !node.logged("client connected").is_empty()
    });
    std::fs::write(&file, "[log]\nfilter = \"loud\"\n").expect("a folder of ours");
    signal(node.pid(), "HUP");
    eventually("the fault is told", || {
        let told = "the log's filter stays: the configuration cannot be read";
        !node.logged(told).is_empty()
    });
    client.heartbeat();
}

#[test]
fn a_service_manager_is_asked_to_wait_and_then_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a folder of ours");
    let _node = Rollcall::with(Options::cores(2).variable("NOTIFY_SOCKET", path.display()));

    let mut said = String::new();
    while !said.contains("READY=1") {
        let mut message = [0; 1024];
        let length = manager.recv(&mut message).expect("a message");
        said.push_str(&String::from_utf8_lossy(&message[..length]));
    }

    let waits = said.find("EXTEND_TIMEOUT_USEC=60000000");
    assert!(
        waits.is_some_and(|at| at < said.find("READY=1").expect("just found")),
        "{said}"
    );
}

/// Has the kernel answer the three calls of io_uring with an error, as a container's profile does, and becomes the program. The numbers of
/// the calls are 425 to 427 on every architecture.
const WITHOUT_IO_URING: &str = r"
import ctypes, os, struct, sys
steps = [(0x20, 0, 0, 0), (0x35, 0, 2, 425), (0x25, 1, 0, 427), (0x06, 0, 0, 0x50000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_filter_that_forbids_io_uring_is_one_line_and_exit_code_69() {
    let data_dir = tempfile::tempdir().expect("a temporary folder");
    for (errno, why) in [
        ("1", "seccomp profile"),
        ("38", "there is no io_uring here"),
    ] {
        let node = Options::cores(1).command(&Addresses::free(), data_dir.path());
        let mut filtered = Command::new("python3");
        filtered
            .args(["-c", WITHOUT_IO_URING, errno])
            .arg(binary())
            .args(node.get_args());
        if Command::new("python3").arg("--version").output().is_err() {
            return;
        }

        let (code, said) = outcome(&mut filtered);

        assert_eq!(code, Some(UNAVAILABLE), "{said}");
        assert!(one_line(&said).contains(why), "{said}");
    }
}
