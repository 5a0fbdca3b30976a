//! A send as the kernel reads it: the message header and its parts, at addresses that do not change while it is in flight.

use std::ptr;

use io_uring::{opcode, squeue, types};
use rollcall_core::limits;

use crate::net::outgoing::Flight;

/// Message header, parts and the bytes they point to. Kept in a box from submission to completion.
pub(super) struct Sending {
    header: libc::msghdr,
    parts: [libc::iovec; limits::SEND_PARTS_MAX],
    flight: Option<Box<Flight>>,
}

impl Sending {
    /// One without a flight.
    pub(super) fn empty() -> Box<Self> {
        let nothing = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self {
            header,
            parts: [nothing; limits::SEND_PARTS_MAX],
            flight: None,
        })
    }

    /// Takes a flight in and makes the operation that sends its next parts. It points into this box until [`Self::unload`].
    pub(super) fn load(&mut self, flight: Box<Flight>, socket: types::Fd) -> squeue::Entry {
        let mut count = 0;
        flight.for_each_part(|part| {
            self.parts[count] = libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            };
            count += 1;
        });
        // A box moves without its content, so the parts stay where they are.
        self.flight = Some(flight);
        let [first, ..] = self.parts;
        if let (1, Ok(len)) = (count, u32::try_from(first.iov_len)) {
            return opcode::Send::new(socket, first.iov_base.cast(), len)
                .flags(libc::MSG_NOSIGNAL)
                .build();
        }
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        opcode::SendMsg::new(socket, &raw const self.header)
            .flags(libc::MSG_NOSIGNAL as u32)
            .build()
    }

    /// Gives the flight out, when the kernel is done with it.
    pub(super) fn unload(&mut self) -> Box<Flight> {
        self.flight
            .take()
            .expect("a sending under way holds a flight")
    }
}
