//! The control executor: asks the cores on behalf of HTTP, puts operators' commands in order, and ends the node.
//!
//! It owns nothing of the registry but the operators' data, of which every core holds a copy: a command is checked, written to disk and
//! applied here and goes to all cores on lanes that keep their order, so that all copies take the same commands in the same sequence.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use rollcall_core::limits;
use rollcall_core::machine::Instant;
use rollcall_core::meta::{Applied, MetaCommand, MetaState};
use rollcall_core::names::CoreId;
use rollcall_core::query::{Answer, Order, Query};
use rollcall_io::clock::Clock;
use rollcall_io::executor::{Bell, rt};
use rollcall_io::interfaces;
use rollcall_io::mesh::{Mesh, Place};
use rollcall_io::signal::{Signals, Stop};

use crate::admin::{self, Facts, NotProposed, Pending, Phase, Proposed, Unanswered, WholeAnswer};
use crate::lanes::{Message, Ticket, ToControl, ToCore};
use crate::log;
use crate::operators::Operators;
use crate::systemd;

/// A core that does not answer for so long is reported as silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// A drain that is not over so long after its time is ended.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// The control executor's side of a node.
pub(crate) struct Control {
    itself: Weak<Self>,
    mesh: RefCell<Mesh<Message>>,
    /// What is on disk, and what every core knows or is being told.
    meta: RefCell<MetaState>,
    /// Locked by whoever writes, which is one at a time anyway.
    operators: Arc<Mutex<Operators>>,
    /// Ends when the last command that was proposed is on its way to the cores, or refused.
    last_command: RefCell<oneshot::Receiver<()>>,
    waiting: RefCell<BTreeMap<Ticket, Waiting>>,
    next_ticket: Cell<u64>,
    facts: Facts,
    phase: Cell<Phase>,
    drain: Duration,
    troubles: RefCell<BTreeMap<CoreId, String>>,
    /// When the cores were asked last whether they live.
    reported_at: Cell<Instant>,
    whole_answer: WholeAnswer,
}

/// What was asked of cores.
type Answers = Vec<(CoreId, oneshot::Receiver<ToControl>)>;

/// Somebody who waits for a core.
struct Waiting {
    since: Instant,
    answer: oneshot::Sender<ToControl>,
}

impl Control {
    /// A node of these facts that hands its clients over within `drain`, with what operators set so far.
    pub(crate) fn new(
        mesh: Mesh<Message>,
        facts: Facts,
        drain: Duration,
        (operators, set): (Operators, MetaState),
    ) -> Rc<Self> {
        Rc::new_cyclic(|itself| Self {
            itself: Weak::clone(itself),
            mesh: RefCell::new(mesh),
            meta: RefCell::new(set),
            operators: Arc::new(Mutex::new(operators)),
            last_command: RefCell::new(oneshot::channel().1),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
            phase: Cell::new(facts.phase),
            facts,
            drain,
            troubles: RefCell::default(),
            reported_at: Cell::default(),
            whole_answer: WholeAnswer::default(),
        })
    }

    /// Carries messages until a signal has ended the node.
    pub(crate) async fn run(self: &Rc<Self>, bell: &mut Bell, signals: &mut Signals) {
        self.phase.set(Phase::Serving);
        let mut ends_at = None;
        let mut drained = 0;
        loop {
            drained += self.receive();
            self.give_up_on_silent_cores();
            if signals.take_hangup() {
                log::read_filter_again();
            }
            match signals.take() {
                Some(Stop::Orderly) => ends_at = Some(self.begin_drain()),
                Some(Stop::Immediate) => break,
                None => {}
            }
            let now = Clock::monotonic();
            self.report_alive(now);
            if drained == self.cores() || ends_at.is_some_and(|at| at <= now) {
                break;
            }
            self.mesh.borrow_mut().flush();
            // The bell rings once a second at least, which is often enough for the deadlines here.
            bell.wait(|| self.mesh.borrow().is_quiet()).await;
        }
        // Nobody receives from here on: who has no answer yet gets none.
        drop(self.waiting.take());
        tracing::info!("stopping");
        self.tell_all(|| ToCore::Stop);
        while self.owes() {
            bell.wait(|| self.mesh.borrow().is_quiet()).await;
            self.mesh.borrow_mut().receive(|_, _| {});
            self.mesh.borrow_mut().flush();
        }
    }

    /// Whether a core has not been told everything yet.
    fn owes(&self) -> bool {
        let mesh = self.mesh.borrow();
        (0..self.facts.cores).any(|core| mesh.owed(Place::Core(CoreId(core))) > 0)
    }

    /// Tells systemd's watchdog that every core still answers; a core that hangs keeps the word from being given.
    fn report_alive(self: &Rc<Self>, now: Instant) {
        let Some(interval) = systemd::watchdog_interval() else {
            return;
        };
        if now.since(self.reported_at.get()) < interval {
            return;
        }
        self.reported_at.set(now);
        let answers = self.send_all(|ticket| ToCore::Ask(ticket, Query::Counts));
        rt::spawn(async move {
            for (_, answer) in answers {
                if answer.await.is_err() {
                    return;
                }
            }
            systemd::still_alive();
        });
    }

    fn begin_drain(&self) -> Instant {
        tracing::info!(over_ms = self.drain.as_millis(), "draining");
        systemd::stopping();
        self.phase.set(Phase::Draining);
        let drain = self.drain;
        self.tell_all(|| ToCore::Drain(drain));
        Clock::monotonic() + drain + DRAIN_PATIENCE
    }

    /// Takes a command, if it can: on disk first, then here, then at the cores, whose answers are to come.
    async fn put_in_order(&self, command: MetaCommand) -> Result<(Applied, Answers), NotProposed> {
        let mut after = self.meta.borrow().clone();
        let applied = after.apply(command.clone());
        let applied = applied.map_err(NotProposed::Refused)?;
        if after != *self.meta.borrow() {
            after = self.store(command.clone(), after).await?;
            self.meta.replace(after);
        }
        let answers = self.send_all(|ticket| ToCore::Apply(ticket, command.clone()));
        Ok((applied, answers))
    }

    /// Writes a command and gives the state after it back.
    async fn store(
        &self,
        command: MetaCommand,
        after: MetaState,
    ) -> Result<MetaState, NotProposed> {
        let operators = Arc::clone(&self.operators);
        let written = rt::spawn_blocking(move || {
            let mut operators = operators.lock().unwrap_or_else(PoisonError::into_inner);
            operators.record(&command, &after).map(|()| after)
        });
        let why = match written.await {
            Ok(Ok(after)) => return Ok(after),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the thread that writes has panicked".to_owned(),
        };
        tracing::error!(why, "an operator's command was not taken");
        Err(NotProposed::NotStored(why))
    }

    /// Hands answers to those who wait; says how many cores have no client left.
    fn receive(&self) -> usize {
        let mut drained = 0;
        self.mesh
            .borrow_mut()
            .receive(|from, message| match message {
                Message::ToControl(ToControl::Drained) => drained += 1,
                Message::ToControl(ToControl::Trouble(core, trouble)) => {
                    let mut troubles = self.troubles.borrow_mut();
                    match trouble {
                        Some(trouble) => troubles.insert(core, trouble),
                        None => troubles.remove(&core),
                    };
                }
                Message::ToControl(answer) => {
                    let (ToControl::Answered(ticket, _) | ToControl::Done(ticket, _)) = answer
                    else {
                        return;
                    };
                    if let Some(waiting) = self.waiting.borrow_mut().remove(&ticket) {
                        // Who asked may have gone meanwhile; then nobody needs the answer.
                        let _ = waiting.answer.send(answer);
                    }
                }
                other => unreachable!("{from:?} never says {other:?} to the control executor"),
            });
        drained
    }

    fn give_up_on_silent_cores(&self) {
        let now = Clock::monotonic();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(oldest) = waiting.first_entry()
            && now.since(oldest.get().since) > PATIENCE
        {
            oldest.remove();
        }
    }

    fn cores(&self) -> usize {
        self.mesh.borrow().cores()
    }

    fn tell_all(&self, mut order: impl FnMut() -> ToCore) {
        let mut mesh = self.mesh.borrow_mut();
        for core in 0..self.facts.cores {
            mesh.send(Place::Core(CoreId(core)), Message::ToCore(order()));
        }
        mesh.flush();
    }

    /// Sends a question that carries its ticket; the answer comes through the returned end.
    fn send(
        &self,
        core: CoreId,
        question: impl FnOnce(Ticket) -> ToCore,
    ) -> oneshot::Receiver<ToControl> {
        let (ticket, answer) = self.expect_word();
        let (mut mesh, core) = (self.mesh.borrow_mut(), Place::Core(core));
        match question(ticket) {
            question @ ToCore::Ask(..) => {
                // A core for which so much waits is silent, and counts as such at once.
                if mesh.try_send(core, Message::ToCore(question)).is_err() {
                    self.waiting.borrow_mut().remove(&ticket);
                }
            }
            command => mesh.send(core, Message::ToCore(command)),
        }
        mesh.flush();
        answer
    }

    /// A ticket, and the end through which what comes with it will be heard.
    fn expect_word(&self) -> (Ticket, oneshot::Receiver<ToControl>) {
        let ticket = Ticket(self.next_ticket.replace(self.next_ticket.get() + 1));
        let (answer, receiver) = oneshot::channel();
        let since = Clock::monotonic();
        self.waiting
            .borrow_mut()
            .insert(ticket, Waiting { since, answer });
        (ticket, receiver)
    }

    fn send_all(&self, question: impl Fn(Ticket) -> ToCore) -> Answers {
        let cores = (0..self.facts.cores).map(CoreId);
        cores
            .map(|core| (core, self.send(core, &question)))
            .collect()
    }
}

/// The number of connections that all cores have touched.
async fn sum(answers: Answers) -> Result<u64, Unanswered> {
    let mut sum = 0;
    for (core, answer) in answers {
        match answer.await {
            Ok(ToControl::Done(_, touched)) => sum += touched,
            Ok(_) | Err(oneshot::Canceled) => return Err(silent(core)),
        }
    }
    Ok(sum)
}

fn silent(core: CoreId) -> Unanswered {
    Unanswered {
        core: Some(core),
        why: format!("nothing came within {} s", PATIENCE.as_secs()),
    }
}

impl admin::Node for Control {
    fn facts(&self) -> Facts {
        Facts {
            phase: self.phase.get(),
            troubles: self.troubles.borrow().values().cloned().collect(),
            ..self.facts.clone()
        }
    }

    fn addresses_beside(&self, ip: IpAddr) -> Vec<IpAddr> {
        interfaces::addresses_beside(ip)
    }

    fn wall_ms(&self) -> u64 {
        Clock::now().wall_ms
    }

    fn monotonic(&self) -> Instant {
        Clock::monotonic()
    }

    fn rest(&self) -> Pending<()> {
        // A core may be waiting for this very CPU.
        std::thread::yield_now();
        // A word to itself comes back when `run` has had its turn, which was woken by the kernel.
        let (ticket, word) = self.expect_word();
        let back = Message::ToControl(ToControl::Done(ticket, 0));
        let mut mesh = self.mesh.borrow_mut();
        mesh.send(Place::Control, back);
        mesh.flush();
        Box::pin(async {
            // None comes where the node has ended meanwhile.
            let _ = word.await;
        })
    }

    fn whole_answer(&self) -> Option<WholeAnswer> {
        self.whole_answer.take()
    }

    fn meta(&self) -> Ref<'_, MetaState> {
        self.meta.borrow()
    }

    fn ask(&self, core: CoreId, query: Query) -> Pending<Result<Answer, Unanswered>> {
        let under_way = self.waiting.borrow().len();
        if under_way >= limits::QUESTIONS_UNDER_WAY_MAX {
            let why = format!("{under_way} questions are under way, retry");
            return Box::pin(std::future::ready(Err(Unanswered { core: None, why })));
        }
        let answer = self.send(core, |ticket| ToCore::Ask(ticket, query));
        Box::pin(async move {
            match answer.await {
                Ok(ToControl::Answered(_, answer)) => Ok(answer),
                Ok(_) | Err(oneshot::Canceled) => Err(silent(core)),
            }
        })
    }

    fn order(&self, order: Order) -> Pending<Result<u64, Unanswered>> {
        let answers = self.send_all(|ticket| ToCore::Order(ticket, order.clone()));
        Box::pin(sum(answers))
    }

    fn propose(&self, command: MetaCommand) -> Pending<Result<Proposed, NotProposed>> {
        let control = self.itself.upgrade().expect("whoever asks holds it");
        let (done, next) = oneshot::channel::<()>();
        let before = self.last_command.replace(next);
        let (answer, answered) = oneshot::channel();
        // A task of its own: what was begun comes to its end although nobody waits for it any more.
        rt::spawn(async move {
            // It never says anything, it only ends.
            let _ = before.await;
            let ordered = control.put_in_order(command).await;
            drop(done);
            let result = match ordered {
                Ok((applied, answers)) => sum(answers)
                    .await
                    .map(|met| Proposed { applied, met })
                    .map_err(NotProposed::Unanswered),
                Err(not_proposed) => Err(not_proposed),
            };
            // Who asked may have gone meanwhile.
            let _ = answer.send(result);
        });
        Box::pin(async {
            let ends = |_| Unanswered {
                core: None,
                why: "the node has ended".to_owned(),
            };
            answered
                .await
                .map_err(ends)
                .map_err(NotProposed::Unanswered)?
        })
    }
}

/// What a node is, before it serves.
pub(crate) fn facts(config: &crate::config::Config, cores: u16, bolt: SocketAddr) -> Facts {
    Facts {
        cores,
        phase: Phase::Starting,
        roles: admin::Roles::ALL,
        data_center: config.node.data_center.clone(),
        zone: config.node.zone.clone(),
        bolt,
        advertise: config
            .node
            .advertise
            .as_ref()
            .map(|advertise| admin::Advertise {
                host: advertise.host().to_owned(),
                port: advertise.port(),
            }),
        started_ms: Clock::now().wall_ms,
        troubles: Vec::new(),
        others: Vec::new(),
    }
}
