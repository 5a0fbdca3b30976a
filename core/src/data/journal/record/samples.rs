//! Registrations of all kinds for the tests of the journal, from a seed.

use std::net::{Ipv6Addr, SocketAddr};

use crate::message::Boxes;
use crate::names::{DataInfoId, RegisterId};
use crate::publisher::{Holder, Order, Publisher};

/// SplitMix64: the same numbers from the same seed, everywhere.
pub(in crate::data::journal) struct Random(pub(in crate::data::journal) u64);

impl Random {
    pub(in crate::data::journal) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        crate::names::mix(self.0)
    }

    /// A number below this one; 0 if there is none.
    pub(in crate::data::journal) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("below a usize")
    }
}

/// Services with plain and with other names.
pub(in crate::data::journal) fn service(number: usize) -> DataInfoId {
    match number % 4 {
        0 => DataInfoId::new(&format!("com.example.Service{number}"), "", "SOFA"),
        1 => DataInfoId::new(&format!("a#@#{number}"), "tenant", "ANT"),
        2 => DataInfoId::new(&format!("\u{670d}\u{52a1}{number}"), "", ""),
        _ => DataInfoId::new("", &number.to_string(), "\0"),
    }
}

/// A publisher with strings of at most so many units.
pub(in crate::data::journal) fn publisher(
    random: &mut Random,
    number: usize,
    units: usize,
) -> Publisher {
    let register_id = match number % 3 {
        0 => format!("client-{number}"),
        _ => format!("00000000-0000-4000-8000-{number:012x}"),
    };
    let address = match number % 2 {
        0 => SocketAddr::from(([10, 0, 0, 7], 12_200)),
        _ => SocketAddr::from((Ipv6Addr::from(u128::from(random.next())), 12_200)),
    };
    Publisher {
        register_id: RegisterId::new(&register_id),
        holder: Holder::NOBODY,
        order: Order {
            version: 1 + random.below(3) as i64,
            stamp: 0,
            timestamp: random.next() as i64 >> random.below(64),
        },
        zone: ["DEFAULT_ZONE", "z", ""][random.below(3)].into(),
        app: ["app", "\u{1f600}"][random.below(2)].into(),
        address,
        registered_ms: random.next() >> random.below(64),
        boxes: boxes(random, units),
    }
}

fn boxes(random: &mut Random, units: usize) -> Boxes {
    let count = random.below(4);
    let texts: Vec<Vec<u16>> = (0..count)
        .map(|_| {
            let units = random.below(units / count);
            // Lone surrogates are legal, and must come back as they were.
            let (lowest, mask): (u16, u16) =
                [(0x20, 0x3f), (0x20, 0x3f), (0, 0xffff)][random.below(3)];
            let unit = |_| lowest + (random.next() as u16 & mask);
            (0..units).map(unit).collect()
        })
        .collect();
    Boxes::from_utf16(texts.iter().map(|text| &text[..]))
}
