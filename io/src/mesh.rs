//! Lanes between the cores of a process: messages keep their order, travel in batches, and nobody ever waits for another.
//!
//! A lane has one writer, one reader and a few slots, each for a whole batch. What finds no slot waits in the writer's outbox and leaves with the
//! next flush that finds one, as one larger batch. Empty batches return on a lane of their own, so that a busy mesh allocates
//! nothing. A sleeping reader is woken once per flush.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rollcall_core::limits;
use rollcall_core::names::CoreId;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::executor::Ringer;

/// Who takes part: the data cores and the control executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A data core.
    Core(CoreId),
    /// The control executor.
    Control,
}

/// One place's ends of all its lanes.
#[derive(Debug)]
pub struct Mesh<M> {
    place: Place,
    cores: usize,
    outgoing: Vec<OutLane<M>>,
    incoming: Vec<InLane<M>>,
}

#[derive(Debug)]
struct OutLane<M> {
    reader: Ringer,
    outbox: Vec<M>,
    full: Producer<Vec<M>>,
    empty: Consumer<Vec<M>>,
    waits: Arc<AtomicBool>,
}

#[derive(Debug)]
struct InLane<M> {
    full: Consumer<Vec<M>>,
    empty: Producer<Vec<M>>,
    writer: Ringer,
    /// Set by a writer that goes to sleep with a full lane.
    writer_waits: Arc<AtomicBool>,
}

/// The lanes between all `cores` and `control`: the meshes of the cores in their order, then that of the control executor.
pub fn connect<M: Send>(cores: &[Ringer], control: &Ringer) -> Vec<Mesh<M>> {
    connect_with(cores, control, limits::LANE_SLOTS)
}

fn connect_with<M: Send>(cores: &[Ringer], control: &Ringer, slots: usize) -> Vec<Mesh<M>> {
    let places = cores.len() + 1;
    let mut meshes: Vec<_> = (0..places)
        .map(|index| Mesh {
            place: place_at(index, cores.len()),
            cores: cores.len(),
            outgoing: Vec::with_capacity(places),
            incoming: Vec::with_capacity(places),
        })
        .collect();
    let ringers = || cores.iter().chain([control]);
    for (from, writer) in ringers().enumerate() {
        for (to, reader) in ringers().enumerate() {
            let (full, taken) = RingBuffer::new(slots);
            // One more than can be under way: what is being read also comes back.
            let (returned, empty) = RingBuffer::new(slots + 1);
            let waits = Arc::new(AtomicBool::new(false));
            let (reader, writer, writer_waits) =
                (reader.clone(), writer.clone(), Arc::clone(&waits));
            meshes[from].outgoing.push(OutLane {
                reader,
                outbox: Vec::new(),
                full,
                empty,
                waits,
            });
            meshes[to].incoming.push(InLane {
                full: taken,
                empty: returned,
                writer,
                writer_waits,
            });
        }
    }
    meshes
}

fn place_at(index: usize, cores: usize) -> Place {
    if index == cores {
        return Place::Control;
    }
    Place::Core(CoreId(
        u16::try_from(index).expect("cores are numbered in 16 bits"),
    ))
}

impl<M: Send> Mesh<M> {
    /// Whose ends these are.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many data cores take part.
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Queues a message behind all earlier ones to the same place; a place may write to itself. It leaves with the next flush.
    ///
    /// It is never refused, as it must arrive. Whoever takes in what makes such messages asks [`Self::has_room`] before, and leaves it where it
    /// is while there is none.
    pub fn send(&mut self, to: Place, message: M) {
        let index = self.index(to);
        // Bounded by `has_room`, for which who makes such messages asks before.
        self.outgoing[index].outbox.push(message);
    }

    /// Whether all data cores keep up: fewer messages wait for each than may. What one of them has in hand is made room for all the same.
    pub fn has_room(&self) -> bool {
        let waiting = self.outgoing[..self.cores].iter();
        let mut waiting = waiting.map(|lane| lane.outbox.len());
        waiting.all(|messages| messages < limits::OUTBOX_MESSAGES_MAX)
    }

    /// Queues a message like `send`, or gives it back when too many wait: for what may be told to ask again.
    pub fn try_send(&mut self, to: Place, message: M) -> Result<(), M> {
        if self.owed(to) >= limits::OUTBOX_MESSAGES_MAX {
            return Err(message);
        }
        self.send(to, message);
        Ok(())
    }

    /// Messages that wait for a slot of the lane to this place.
    pub fn owed(&self, to: Place) -> usize {
        self.outgoing[self.index(to)].outbox.len()
    }

    /// Puts what is queued on the lanes, one batch per place, and wakes those who sleep. False if nothing could leave.
    pub fn flush(&mut self) -> bool {
        let mut left = false;
        for lane in &mut self.outgoing {
            left |= lane.flush();
        }
        left
    }

    /// Takes what has come: at most one lane's worth of batches per place and call. False if there was nothing.
    pub fn receive(&mut self, mut take: impl FnMut(Place, M)) -> bool {
        let mut received = false;
        for (index, lane) in self.incoming.iter_mut().enumerate() {
            let from = place_at(index, self.cores);
            let batches = lane.full.slots();
            for _ in 0..batches {
                let Ok(mut batch) = lane.full.pop() else {
                    break;
                };
                batch.drain(..).for_each(|message| take(from, message));
                lane.give_back(batch);
            }
            if batches > 0 {
                received = true;
                lane.wake_writer();
            }
        }
        received
    }

    /// Whether there is nothing to read or to flush. Ask it while the bell is marked sleeping: who fills or empties a lane rings then.
    pub fn is_quiet(&self) -> bool {
        let nothing_came = self.incoming.iter().all(|lane| lane.full.is_empty());
        nothing_came && self.outgoing.iter().all(OutLane::cannot_flush)
    }

    fn index(&self, place: Place) -> usize {
        match place {
            Place::Core(core) => {
                assert!(
                    core.index() < self.cores,
                    "core {} of {}",
                    core.0,
                    self.cores
                );
                core.index()
            }
            Place::Control => self.cores,
        }
    }
}

impl<M> OutLane<M> {
    /// Whether nothing can leave before the reader rings.
    fn cannot_flush(&self) -> bool {
        if self.outbox.is_empty() {
            return true;
        }
        self.waits.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.full.is_full()
    }

    fn flush(&mut self) -> bool {
        if self.outbox.is_empty() || self.full.is_full() {
            return false;
        }
        let next = self.empty.pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.outbox, next);
        let pushed = self.full.push(batch);
        assert!(pushed.is_ok(), "a lane has one writer, and it saw room");
        self.reader.ring_if_asleep();
        true
    }
}

impl<M> InLane<M> {
    fn give_back(&mut self, batch: Vec<M>) {
        // One storm must not keep its memory for ever; and a full return lane only costs an allocation later.
        if batch.capacity() <= limits::LANE_BATCH_KEPT_MAX {
            let _ = self.empty.push(batch);
        }
    }

    fn wake_writer(&self) {
        fence(Ordering::SeqCst);
        if self.writer_waits.load(Ordering::Relaxed)
            && self.writer_waits.swap(false, Ordering::SeqCst)
        {
            self.writer.ring_if_asleep();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::executor::{Bell, Seat, available_cpus, plan_cores, start_core};

    const MESSAGES: u64 = 200_000;

    fn ringer() -> Ringer {
        Ringer::new().expect("a descriptor")
    }

    fn core(number: u16) -> Place {
        Place::Core(CoreId(number))
    }

    fn received(mesh: &mut Mesh<u32>) -> Vec<(Place, u32)> {
        let mut all = Vec::new();
        mesh.receive(|from, message| all.push((from, message)));
        all
    }

    #[test]
    fn every_place_reaches_every_place_also_itself() {
        let mut meshes = connect::<u32>(&[ringer(), ringer()], &ringer());
        let places = [core(0), core(1), Place::Control];

        for (number, mesh) in meshes.iter_mut().enumerate() {
            assert_eq!(mesh.place(), places[number]);
            places.iter().for_each(|&to| mesh.send(to, number as u32));
            mesh.flush();
        }

        for mesh in &mut meshes {
            assert_eq!(
                received(mesh),
                [(core(0), 0), (core(1), 1), (Place::Control, 2)]
            );
            assert!(mesh.is_quiet());
        }
    }

    #[test]
    fn what_finds_no_slot_waits_and_keeps_its_order() {
        let mut meshes = connect_with::<u32>(&[ringer(), ringer()], &ringer(), 1);
        let mut writer = meshes.remove(0);
        let mut reader = meshes.remove(0);

        for message in 0..5 {
            writer.send(core(1), message);
            writer.flush();
        }
        let first = received(&mut reader);
        assert_eq!(writer.owed(core(1)), 4);
        assert!(!writer.is_quiet());
        writer.flush();
        let rest = received(&mut reader);

        assert_eq!(
            [first, rest].concat(),
            (0..5).map(|message| (core(0), message)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_full_outbox_gives_the_message_back() {
        let mut meshes = connect::<u32>(&[ringer(), ringer()], &ringer());
        let writer = &mut meshes[0];

        for message in 0..limits::OUTBOX_MESSAGES_MAX as u32 {
            writer.try_send(core(1), message).expect("room");
        }

        assert_eq!(writer.try_send(core(1), 7), Err(7));
        assert_eq!(writer.try_send(Place::Control, 7), Ok(()));
    }

    #[test]
    fn a_core_that_takes_nothing_leaves_no_room_until_it_does() {
        let mut meshes = connect_with::<u32>(&[ringer(), ringer()], &ringer(), 1);
        let mut writer = meshes.remove(0);
        let mut reader = meshes.remove(0);
        let most = limits::OUTBOX_MESSAGES_MAX as u32;
        (0..=most).for_each(|message| writer.send(Place::Control, message));
        assert!(
            writer.has_room(),
            "the control executor holds up no clients"
        );
        writer.send(core(1), 0);
        writer.flush();

        (0..most).for_each(|message| writer.send(core(1), message));
        writer.flush();
        assert!(!writer.has_room());

        received(&mut reader);
        writer.flush();
        assert!(writer.has_room());
    }

    #[test]
    fn cores_that_flood_each_other_through_one_slot_lose_and_reorder_nothing() {
        let seats = plan_cores(Some(2), &available_cpus()).expect("cores");
        let ringers: Vec<_> = seats.iter().map(|seat| seat.ringer.clone()).collect();
        let mut meshes = connect_with::<u64>(&ringers, &ringer(), 1);
        meshes.pop();
        let (done, ends) = mpsc::channel();

        let start_one = |(seat, mesh): (&Seat, Mesh<u64>)| {
            let done = done.clone();
            start_core(seat, move |bell| flood(bell, mesh, done)).expect("a core")
        };
        let running: Vec<_> = seats.iter().zip(meshes).map(start_one).collect();

        for _ in 0..2 {
            assert_eq!(ends.recv_timeout(Duration::from_secs(60)), Ok(MESSAGES));
        }
        running
            .into_iter()
            .for_each(|core| core.join().expect("no panic"));
    }

    /// Sends to the other core in bursts, sleeps when there is nothing to do, and expects the other's numbers in order.
    async fn flood(mut bell: Bell, mut mesh: Mesh<u64>, done: mpsc::Sender<u64>) {
        let other = if mesh.place() == core(0) {
            core(1)
        } else {
            core(0)
        };
        let (mut sent, mut expected) = (0, 0);
        while expected < MESSAGES || mesh.owed(other) > 0 || sent < MESSAGES {
            let burst = (sent % 7 + 1).min(MESSAGES - sent);
            (sent..sent + burst).for_each(|message| mesh.send(other, message));
            sent += burst;
            let mut worked = burst > 0;
            worked |= mesh.receive(|from, message| {
                assert_eq!((from, message), (other, expected));
                expected += 1;
            });
            worked |= mesh.flush();
            if worked {
                bell.pass(Clock::monotonic()).await;
            } else {
                bell.wait(|| mesh.is_quiet()).await;
            }
        }
        done.send(expected).expect("a test that waits");
    }

    #[test]
    fn a_sleeping_core_is_woken_for_every_message_of_a_ping_pong() {
        let seats = plan_cores(Some(2), &available_cpus()).expect("cores");
        let ringers: Vec<_> = seats.iter().map(|seat| seat.ringer.clone()).collect();
        let mut meshes = connect_with::<u32>(&ringers, &ringer(), 1);
        meshes.pop();
        let started = std::time::Instant::now();

        let running: Vec<_> = seats
            .iter()
            .zip(meshes)
            .map(|(seat, mesh)| {
                start_core(seat, move |bell| ping_pong(bell, mesh)).expect("a core")
            })
            .collect();
        running
            .into_iter()
            .for_each(|core| core.join().expect("no panic"));

        // Were wake-ups lost, each would cost the 100 ms of an idle pulse.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    }

    async fn ping_pong(mut bell: Bell, mut mesh: Mesh<u32>) {
        const ROUNDS: u32 = 2_000;
        let (other, starts) = if mesh.place() == core(0) {
            (core(1), true)
        } else {
            (core(0), false)
        };
        if starts {
            mesh.send(other, 0);
        }
        let mut last = 0;
        while last < ROUNDS {
            let mut answer = None;
            mesh.receive(|_, message| answer = Some(message + 1));
            if let Some(answer) = answer {
                last = answer;
                mesh.send(other, answer);
            }
            mesh.flush();
            bell.wait(|| mesh.is_quiet()).await;
        }
        mesh.flush();
    }
}
