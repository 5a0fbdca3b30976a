//! The real binary as a process of its own, on ports of its own, told what to do by flags and signals only.
//!
//! Every flag, log field and path that tests rely on is named here and nowhere else.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::raw::RawClient;
use crate::{PATIENCE, http};

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Clients' Bolt connections.
    pub bolt: SocketAddr,
    /// Discovery, digests and connection facts.
    pub session: SocketAddr,
    /// Operations.
    pub meta: SocketAddr,
    /// Datums.
    pub data: SocketAddr,
}

impl Addresses {
    /// Free ports that the system does not hand to outgoing connections: a client that tries to come back to a port of that kind while no
    /// server listens there can end up connected to itself.
    pub fn free() -> Self {
        let free = || {
            static NEXT: AtomicU16 = AtomicU16::new(0);
            let start = u16::try_from(std::process::id() % 90).expect("below 90") * 100;
            let candidates = std::iter::repeat_with(|| {
                20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000
            });
            let addresses = candidates.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            addresses
                .take(10_000)
                .find(|address| TcpListener::bind(address).is_ok())
                .expect("a port is free")
        };
        Self {
            bolt: free(),
            session: free(),
            meta: free(),
            data: free(),
        }
    }

    /// The core that owns the connection of the client at this address; nothing when there is no such connection.
    pub fn core_of(&self, client: SocketAddr) -> Option<usize> {
        let connections = self.connections(&format!("?address={client}"));
        let core = connections.first()?["core"].as_u64();
        core.and_then(|core| usize::try_from(core).ok())
    }

    /// What the node tells about its connections: all, or those that `query` asks for.
    pub fn connections(&self, query: &str) -> Vec<Json> {
        let reply = http::get(self.session, &format!("/connections/details{query}"));
        assert_eq!(reply.status, 200, "{reply:?}");
        let Json::Array(connections) = reply.json() else {
            panic!("no list: {reply:?}")
        };
        connections
    }
}

/// How to start a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Data-plane cores.
    pub cores: usize,
    /// Settings by section and key, beyond what every test sets.
    pub settings: Vec<(&'static str, String)>,
    /// Variables of the process.
    pub variables: Vec<(&'static str, String)>,
    /// Whether clients and discovery are served at both loopback addresses.
    is_on_localhost: bool,
}

impl Options {
    /// A node of so many cores.
    pub fn cores(cores: usize) -> Self {
        Self {
            cores,
            settings: Vec::new(),
            variables: Vec::new(),
            is_on_localhost: false,
        }
    }

    /// The same with a variable of the process.
    pub fn variable(mut self, name: &'static str, value: impl ToString) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    /// The same with clients and discovery served at `localhost`, whichever of its addresses that is.
    pub fn on_localhost(mut self) -> Self {
        self.is_on_localhost = true;
        self
    }

    /// The same with one more setting, named `section.key`.
    pub fn set(mut self, key: &'static str, value: impl ToString) -> Self {
        self.settings.push((key, value.to_string()));
        self
    }

    /// The command that starts such a node.
    pub fn command(&self, addresses: &Addresses, data_dir: &Path) -> Command {
        let mut command = Command::new(binary());
        let listen = |address: SocketAddr| match self.is_on_localhost {
            true => format!("localhost:{}", address.port()),
            false => address.to_string(),
        };
        command
            .args(["--cores", &self.cores.to_string()])
            .args(["--listen", &listen(addresses.bolt)])
            .args(["--session-http", &listen(addresses.session)])
            .args(["--meta-http", &addresses.meta.to_string()])
            .args(["--data-http", &addresses.data.to_string()])
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--log-format", "json"]);
        for (key, value) in &self.settings {
            command.env(
                format!("ROLLCALL__{}", key.replace('.', "__").to_uppercase()),
                value,
            );
        }
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (*name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// A running node; ends with the test.
#[derive(Debug)]
pub struct Rollcall {
    process: Child,
    options: Options,
    data_dir: PathBuf,
    /// Removed with the node, if it was made for it.
    _temporary: Option<TempDir>,
    log: Arc<Mutex<Vec<String>>>,
    /// Where it listens.
    pub addresses: Addresses,
}

impl Rollcall {
    /// Starts a node of so many cores and waits until it is ready.
    pub fn start(cores: usize) -> Self {
        Self::with(Options::cores(cores))
    }

    /// Starts a node and waits until it is ready.
    pub fn with(options: Options) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let mut node = Self::on(options, temporary.path());
        node._temporary = Some(temporary);
        node
    }

    /// Starts a node on a folder that outlives it and waits until it is ready.
    pub fn on(options: Options, data_dir: &Path) -> Self {
        let addresses = Addresses::free();
        let log = Arc::default();
        let process = launch(&options, &addresses, data_dir, &log);
        Self {
            process,
            options,
            data_dir: data_dir.to_owned(),
            _temporary: None,
            log,
            addresses,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits until the process ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        wait(&mut self.process, within)
    }

    /// Ends the process in order.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended(PATIENCE)
    }

    /// Ends the process with no chance to say anything.
    pub fn kill(&mut self) {
        self.process.kill().expect("a process of ours");
        self.process.wait().expect("a process of ours");
    }

    /// Starts the ended node again: same ports, same folder.
    pub fn restart(&mut self) {
        self.process = launch(&self.options, &self.addresses, &self.data_dir, &self.log);
    }

    /// Starts the ended node again, on a number of cores, and kills it so long after, ready or not.
    pub fn restart_on_and_kill(&mut self, cores: usize, after: Duration) {
        self.options.cores = cores;
        let log = &self.log;
        let (process, ready) = spawn(&self.options, &self.addresses, &self.data_dir, log);
        self.process = process;
        // Ready or not; only the end of its log would come sooner, and then there is nothing to kill.
        let deadline = Instant::now() + after;
        while ready
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        self.kill();
    }

    /// Starts the ended node again on another number of cores.
    pub fn restart_on(&mut self, cores: usize) {
        self.options.cores = cores;
        self.restart();
    }

    /// The lines it logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panics").clone()
    }

    /// The lines with this message that it logged so far.
    pub fn logged(&self, wanted: &str) -> Vec<Json> {
        let log = self.log();
        let lines = log
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        let is_wanted = |line: &Json| message(line) == Some(wanted);
        lines.filter(is_wanted).collect()
    }

    /// A number that it tells in its metrics, with the labels as they stand there.
    pub fn metric(&self, name: &str) -> u64 {
        let text = http::get(self.addresses.data, "/metrics").body;
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value
            .parse()
            .unwrap_or_else(|error| panic!("{name} {value}: {error}"))
    }

    /// A raw client.
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.addresses.bolt)
    }

    /// A raw client whose connection belongs to this core. The kernel chooses the core by the client's port, so ports are tried.
    pub fn client_on_core(&self, core: usize) -> RawClient {
        let mut others = Vec::new();
        while others.len() < 200 {
            let mut client = self.client();
            client.heartbeat();
            if self.addresses.core_of(client.address()) == Some(core) {
                return client;
            }
            others.push(client);
        }
        panic!("no connection of {} landed on core {core}", others.len());
    }

    /// How many publishers, subscribers and watchers the session counts.
    pub fn counts(&self) -> String {
        http::get(self.addresses.session, "/digest/data/count").body
    }

    /// Stores a configuration value.
    pub fn put_config(&self, data_id: &str, version: u64, value: &str) {
        self.operate(
            "/persistentData/put",
            data_id,
            version,
            &format!("{value:?}"),
        );
    }

    /// Removes a configuration value.
    pub fn remove_config(&self, data_id: &str, version: u64) {
        self.operate("/persistentData/remove", data_id, version, "null");
    }

    fn operate(&self, path: &str, data_id: &str, version: u64, value: &str) {
        let body = format!(
            r#"{{"dataId":{data_id:?},"group":"DEFAULT_GROUP","instanceId":"DEFAULT_INSTANCE_ID","version":{version},"data":{value}}}"#
        );
        let reply = http::post(self.addresses.meta, path, &body);
        assert_eq!(
            (reply.status, &reply.json()["success"]),
            (200, &Json::Bool(true)),
            "{reply:?}"
        );
    }

    /// Stops all pushes, or lets them go on.
    pub fn stop_pushes(&self, stop: bool) {
        // The original's words: the switch that stops pushes is "open".
        let path = if stop {
            "/stopPushDataSwitch/open"
        } else {
            "/stopPushDataSwitch/close"
        };
        let reply = http::get(self.addresses.meta, path);
        assert_eq!(
            (reply.status, &reply.json()["success"]),
            (200, &Json::Bool(true)),
            "{reply:?}"
        );
    }

    /// CPU time that it took so far, in ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .expect("a process of ours");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = |text: &str| text.parse::<u64>().expect("a number");
        let fields: Vec<_> = fields.split(' ').skip(11).take(2).map(ticks).collect();
        fields.iter().sum()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("a process of ours");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("a live process has memory");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }
}

impl Drop for Rollcall {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last = &log[log.len().saturating_sub(40)..];
            eprintln!("the server's last lines:\n{}", last.join("\n"));
        }
    }
}

/// Waits for a process with a deadline.
pub fn wait(process: &mut Child, within: Duration) -> ExitStatus {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = process.try_wait().expect("a process of ours") {
            return status;
        }
        assert!(
            Instant::now() < deadline,
            "process {} did not end within {within:?}",
            process.id()
        );
        // The standard library has no wait with a deadline.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .expect("every host has a shell");
    assert!(status.success(), "kill -{name} {pid}: {status}");
}

/// The binary under test: `ROLLCALL_BINARY`, or what cargo builds with the profile of this test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("ROLLCALL_BINARY").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this process has a binary");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>");
    let target = profile.parent().expect("target/<profile>");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args([
            "build",
            "--quiet",
            "--package",
            "rollcall",
            "--bin",
            "rollcall",
            "--target-dir",
        ])
        .arg(target);
    if profile.file_name().is_some_and(|name| name != "debug") {
        command
            .arg("--profile")
            .arg(profile.file_name().expect("it has a name"));
    }
    let status = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the server does not build");
    profile.join("rollcall")
}

fn launch(
    options: &Options,
    addresses: &Addresses,
    data_dir: &Path,
    log: &Arc<Mutex<Vec<String>>>,
) -> Child {
    let (mut process, ready) = spawn(options, addresses, data_dir, log);
    match ready.recv_timeout(PATIENCE) {
        Ok(()) => process,
        Err(end) => {
            let _ = process.kill();
            let why = if end == RecvTimeoutError::Timeout {
                "did not get ready"
            } else {
                "ended at start"
            };
            // Let go before the panic, or the node's own end could not read it.
            let log = log.lock().expect("no reader panics").join("\n");
            panic!("the server {why}:\n{log}");
        }
    }
}

fn spawn(
    options: &Options,
    addresses: &Addresses,
    data_dir: &Path,
    log: &Arc<Mutex<Vec<String>>>,
) -> (Child, Receiver<()>) {
    let mut process = options
        .command(addresses, data_dir)
        .spawn()
        .expect("the server's binary runs");
    let errors = process.stderr.take().expect("it was piped");
    let ready = follow(BufReader::new(errors), Arc::clone(log));
    (process, ready)
}

/// Keeps the log lines, and tells when one says that the node is ready.
fn follow(lines: impl BufRead + Send + 'static, log: Arc<Mutex<Vec<String>>>) -> Receiver<()> {
    let (tell, ready) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let parsed = serde_json::from_str(&line).unwrap_or(Json::Null);
            let says_ready = message(&parsed) == Some("ready");
            log.lock().expect("no reader panics").push(line);
            if says_ready {
                let _ = tell.send(());
            }
        }
    });
    ready
}

/// The message of a JSON log line.
fn message(line: &Json) -> Option<&str> {
    let message = line
        .get("message")
        .or_else(|| line.get("fields")?.get("message"))?;
    message.as_str()
}
