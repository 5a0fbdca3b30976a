//! An echo server with everything a process of the product has: data cores, lanes, a control executor, signals.
//!
//! Shows the loop of a core. Start it with a port, a number of cores and `ring` or `plain`.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rollcall_core::names::{ConnectId, CoreId};
use rollcall_io::clock::Clock;
use rollcall_io::executor::{
    Bell, Ringer, Seat, available_cpus, plan_cores, prepare_process, run_control, start_core,
};
use rollcall_io::listener::bind_all;
use rollcall_io::mesh::{self, Mesh, Place};
use rollcall_io::net::{
    Admission, EndedBy, Flow, FrameLen, Framing, Net, Outgoing, Service, Settings, TransportKind,
};
use rollcall_io::probe::probe;
use rollcall_io::signal::Signals;

/// Frames of a length in four bytes and a payload.
struct Lengths;

impl Framing for Lengths {
    type Error = usize;

    fn frame_len(bytes: &[u8]) -> Result<FrameLen, usize> {
        let Some(head) = bytes.first_chunk() else {
            return Ok(FrameLen::Incomplete { needed: 4 });
        };
        let len = 4 + u32::from_be_bytes(*head) as usize;
        if len > 8 << 20 {
            return Err(len);
        }
        Ok(if bytes.len() < len {
            FrameLen::Incomplete { needed: len }
        } else {
            FrameLen::Complete(len)
        })
    }
}

/// Sends every frame back.
struct Echo;

impl Service<Lengths> for Echo {
    fn opened(&mut self, _: ConnectId, _: SocketAddr, _: SocketAddr) {}

    fn frame(&mut self, _: ConnectId, bytes: &[u8], out: &mut Outgoing) -> Flow {
        out.bytes().extend_from_slice(bytes);
        Flow::Continue
    }

    fn bad_frame(&mut self, _: ConnectId, _: &usize, _: &mut Outgoing) {}
    fn sent(&mut self, _: ConnectId, _: u32) {}
    fn writable(&mut self, _: ConnectId) {}
    fn closed(&mut self, _: ConnectId, _: EndedBy) {}
}

/// What goes over the lanes.
enum Message {
    Stop,
    Stopped { connections: usize },
}

async fn drive(mut bell: Bell, mut net: Net<Lengths>, mut mesh: Mesh<Message>) {
    let mut is_running = true;
    while is_running {
        let now = Clock::now();
        let mut worked = net.poll(now, &mut Echo);
        worked |= mesh.receive(|_, message| is_running &= !matches!(message, Message::Stop));
        // Here the machines' time-outs are handled and their effects performed: `net.out(id)`, `mesh.send(place, message)`.
        if !is_running {
            mesh.send(
                Place::Control,
                Message::Stopped {
                    connections: net.connections(),
                },
            );
        }
        net.flush();
        worked |= mesh.flush();
        if worked {
            bell.pass(now.monotonic).await;
        } else {
            let deadline = None;
            bell.wait(|| mesh.is_quiet() && net.prepare_sleep(Clock::now(), deadline))
                .await;
        }
    }
}

async fn control(mut bell: Bell, mut mesh: Mesh<Message>, mut signals: Signals) {
    while signals.take().is_none() {
        bell.wait(|| mesh.is_quiet()).await;
    }
    for core in 0..mesh.cores() {
        mesh.send(
            Place::Core(CoreId(u16::try_from(core).expect("few cores"))),
            Message::Stop,
        );
    }
    let mut stopped = 0;
    while stopped < mesh.cores() {
        mesh.flush();
        mesh.receive(|from, message| {
            if let Message::Stopped { connections } = message {
                stopped += 1;
                println!("{from:?} stopped with {connections} connections");
            }
        });
        if stopped < mesh.cores() {
            bell.wait(|| mesh.is_quiet()).await;
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    prepare_process();
    let mut arguments = env::args().skip(1);
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let cores = arguments.next().map(|cores| cores.parse()).transpose()?;
    let seats = plan_cores(cores, &available_cpus())?;
    let host = probe()?;
    let kind = if arguments.next().as_deref() == Some("plain") {
        TransportKind::Plain
    } else {
        host.transport
    };
    let listening = bind_all(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), seats.len())?;
    let admission = Arc::new(Admission::new(0, 0));
    let control_ringer = Ringer::new()?;
    let signals = Signals::catch(&control_ringer)?;
    let ringers: Vec<_> = seats.iter().map(|seat| seat.ringer.clone()).collect();
    let mut meshes = mesh::connect(&ringers, &control_ringer);
    let control_mesh = meshes.pop().expect("the control executor has the last one");

    let mut running = Vec::new();
    for ((seat, mesh), listener) in seats.into_iter().zip(meshes).zip(listening.listeners) {
        let admission = Arc::clone(&admission);
        let Seat { core, ringer, .. } = seat.clone();
        running.push(start_core(&seat, move |bell| async move {
            let net = Net::new(
                core,
                kind,
                vec![listener],
                &ringer,
                admission,
                Settings::default(),
            );
            drive(
                bell,
                net.expect("a transport that the probe has seen work"),
                mesh,
            )
            .await;
        })?);
    }
    println!("listening on {} over {kind:?}", listening.address);
    run_control(&control_ringer, |bell| control(bell, control_mesh, signals))?;
    for core in running {
        core.join().map_err(|_| "a core has panicked")?;
    }
    Ok(())
}
