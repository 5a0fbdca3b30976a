//! A published client at work in a process of its own, told what to do by a test.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::PATIENCE;
use crate::drivers::Published;
use crate::messages::{Zones, sorted_strings};
use crate::program::{Rollcall, signal};
use crate::text::Text;

/// One line of a driver.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    event: String,
    at: u64,
    id: Option<u64>,
    message: Option<String>,
    name: String,
    local_zone: Option<String>,
    zones: Option<Zones>,
    value: Option<Text>,
    class: String,
    data_id: Text,
    version: i64,
}

/// A list that an observer was called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, in nanoseconds of the clock all processes share.
    pub at: u64,
    /// The client's own zone as the server sees it.
    pub local_zone: Option<String>,
    /// The strings.
    pub zones: Zones,
}

impl Seen {
    /// The strings of all zones, sorted.
    pub fn strings(&self) -> Vec<Text> {
        sorted_strings(&self.zones)
    }
}

/// A client process; ends with the test.
#[derive(Debug)]
pub struct Client {
    /// Which client it is.
    pub kind: Published,
    process: Child,
    commands: Option<ChildStdin>,
    events: Receiver<Event>,
    unread: VecDeque<Event>,
    next_id: u64,
    /// How often each publisher published, which is the version of its registration.
    publications: BTreeMap<String, i64>,
}

impl Client {
    /// Starts a driver; nothing where its toolchain is absent.
    pub fn start(kind: Published) -> Option<Self> {
        let mut command = kind.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if std::env::var_os("ROLLCALL_TEST_CLIENT_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        let mut process = command
            .spawn()
            .expect("the driver's runtime was there a moment ago");
        let commands = process.stdin.take();
        let events = follow(BufReader::new(process.stdout.take().expect("it was piped")));
        let mut client = Self {
            kind,
            process,
            commands,
            events,
            unread: VecDeque::new(),
            next_id: 0,
            publications: BTreeMap::new(),
        };
        client.expect("its start", |event| event.event == "ready");
        Some(client)
    }

    /// Starts a driver and connects it to a node, from the default zone.
    pub fn of(kind: Published, node: &Rollcall) -> Option<Self> {
        Self::in_zone(kind, node, "DEFAULT_ZONE")
    }

    /// Starts a driver and connects it to a node, from a zone.
    pub fn in_zone(kind: Published, node: &Rollcall, zone: &str) -> Option<Self> {
        let mut client = Self::start(kind)?;
        client.connect(node.addresses.session, zone, None);
        Some(client)
    }

    /// Tells the client where to ask for servers.
    pub fn connect(&mut self, endpoint: SocketAddr, zone: &str, instance: Option<&str>) {
        let (host, port) = (
            Text::from(endpoint.ip().to_string()).json(),
            endpoint.port(),
        );
        let instance = instance.map_or("null".to_owned(), |instance| Text::from(instance).json());
        let zone = Text::from(zone).json();
        self.done(
            "connect",
            &format!(
                r#""host":{host},"port":{port},"zone":{zone},"app":"tests","instance":{instance}"#
            ),
        );
    }

    /// Registers a publisher under a name; tells when, in nanoseconds.
    pub fn publish(&mut self, name: &str, data_id: impl Into<Text>, strings: &[Text]) -> u64 {
        let data_id = data_id.into().json();
        self.publications.insert(name.to_owned(), 1);
        self.order(
            "publish",
            name,
            &format!(r#","dataId":{data_id},"values":{}"#, json(strings)),
        )
    }

    /// Publishes other strings; tells when, in nanoseconds.
    pub fn republish(&mut self, name: &str, strings: &[Text]) -> u64 {
        *self.publications.entry(name.to_owned()).or_default() += 1;
        self.order(
            "republish",
            name,
            &format!(r#","values":{}"#, json(strings)),
        )
    }

    /// Registers a subscriber under a name.
    pub fn subscribe(&mut self, name: &str, data_id: impl Into<Text>, scope: &str) {
        let data_id = data_id.into().json();
        self.order(
            "subscribe",
            name,
            &format!(r#","dataId":{data_id},"scope":"{scope}""#),
        );
    }

    /// Registers a configurator under a name.
    pub fn configure(&mut self, name: &str, data_id: impl Into<Text>) {
        let data_id = data_id.into().json();
        self.order("configure", name, &format!(r#","dataId":{data_id}"#));
    }

    /// Ends a registration.
    pub fn unregister(&mut self, name: &str) {
        self.order("unregister", name, "");
    }

    /// Waits until the server acknowledged the newest version of a publisher's registration.
    pub fn acknowledged(&mut self, name: &str, data_id: &str) {
        if self.kind == Published::Node {
            let version = self.publications[name];
            self.expect(&format!("the acknowledgement of {name}"), |event| {
                event.event == "acknowledged"
                    && event.class == "PublisherRegister"
                    && event.data_id == data_id
                    && event.version >= version
            });
        } else {
            self.order("acknowledged", name, "");
        }
    }

    /// The list that the client holds for a subscriber.
    pub fn peek(&mut self, name: &str) -> Zones {
        self.order("peek", name, "");
        let event = self.expect(&format!("what {name} holds"), |event| {
            event.event == "peek" && event.name == name
        });
        event.zones.unwrap_or_default()
    }

    /// The next list a subscriber's observer is called with.
    pub fn list(&mut self, name: &str) -> Seen {
        seen(self.expect(&format!("a list for {name}"), |event| {
            event.event == "data" && event.name == name
        }))
    }

    /// The next list that any subscriber's observer is called with, and the subscriber's name.
    pub fn any_list(&mut self) -> (String, Seen) {
        let event = self.expect("a list", |event| event.event == "data");
        (event.name.clone(), seen(event))
    }

    /// Reads a subscriber's lists until one fits; gives all, that one last.
    pub fn lists_until(&mut self, name: &str, fits: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let mut lists = vec![self.list(name)];
        while !fits(lists.last().expect("there is one")) {
            lists.push(self.list(name));
        }
        lists
    }

    /// Reads a subscriber's lists until one has exactly these strings, in whatever order; gives all, that one last.
    pub fn lists_until_strings<T: Clone + Into<Text>>(
        &mut self,
        name: &str,
        strings: &[T],
    ) -> Vec<Seen> {
        let mut wanted: Vec<Text> = strings.iter().cloned().map(Into::into).collect();
        wanted.sort();
        self.lists_until(name, |seen| seen.strings() == wanted)
    }

    /// The next value a configurator's observer is called with.
    pub fn config(&mut self, name: &str) -> Option<Text> {
        self.expect(&format!("a value for {name}"), |event| {
            event.event == "config" && event.name == name
        })
        .value
    }

    /// Reads a configurator's values until this one comes.
    pub fn config_until(&mut self, name: &str, value: Option<&str>) {
        let wanted = value.map(Text::from);
        while self.config(name) != wanted {}
    }

    /// Every list a subscriber's observer is called with during a time.
    pub fn lists_during(&mut self, name: &str, time: Duration) -> Vec<Seen> {
        let deadline = Instant::now() + time;
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) => self.unread.push_back(event),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("{:?} ended", self.kind),
            }
        }
        let (lists, others) = self
            .unread
            .drain(..)
            .partition(|event| event.event == "data" && event.name == name);
        self.unread = others;
        lists.into_iter().map(seen).collect::<Vec<_>>()
    }

    /// Ends the process with no chance to say anything.
    pub fn kill(mut self) {
        self.process.kill().expect("a process of ours");
        self.process.wait().expect("a process of ours");
    }

    /// Stops the process where it is; its connection stays open and silent.
    pub fn freeze(&self) {
        signal(self.process.id(), "STOP");
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        signal(self.process.id(), "CONT");
    }

    /// Gives a command about something that has a name.
    fn order(&mut self, what: &str, name: &str, rest: &str) -> u64 {
        let name = Text::from(name).json();
        self.done(what, &format!(r#""name":{name}{rest}"#))
    }

    fn done(&mut self, what: &str, rest: &str) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let commands = self.commands.as_mut().expect("open until the end");
        writeln!(commands, r#"{{"id":{id},"do":"{what}",{rest}}}"#)
            .expect("the driver reads its commands");
        let answer = self.expect(&format!("the answer to {what}"), |event| {
            event.id == Some(id)
        });
        assert_eq!(answer.event, "done", "{what} {rest}: {:?}", answer.message);
        answer.at
    }

    fn expect(&mut self, wanted: &str, fits: impl Fn(&Event) -> bool) -> Event {
        if let Some(place) = self.unread.iter().position(&fits) {
            return self.unread.remove(place).expect("it was just found");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) if fits(&event) => return event,
                Ok(event) => self.unread.push_back(event),
                Err(why) => panic!(
                    "{:?}: {wanted} did not come ({why}); unread: {:#?}",
                    self.kind, self.unread
                ),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A frozen process dies of this signal too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn follow(lines: impl BufRead + Send + 'static) -> Receiver<Event> {
    let (tell, events) = mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let event = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{error} in {line:.300}"));
            if tell.send(event).is_err() {
                return;
            }
        }
    });
    events
}

fn seen(event: Event) -> Seen {
    Seen {
        at: event.at,
        local_zone: event.local_zone,
        zones: event.zones.unwrap_or_default(),
    }
}

fn json(strings: &[Text]) -> String {
    let strings: Vec<_> = strings.iter().map(Text::json).collect();
    format!("[{}]", strings.join(","))
}
