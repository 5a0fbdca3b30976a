//! A list of many megabytes reaches whoever reads, and costs nobody another service.

use std::ops::Range;

use rollcall_tests::{RawClient, Registration, Rollcall, Text};

const FULL: Range<usize> = 21 * MIB..22 * MIB;
const MIB: usize = 1 << 20;

/// Publishes strings of so many bytes in all, and little less than a frame may have.
fn publish_big(client: &mut RawClient, name: &str, version: i64, letter: char) {
    let text = Text::from(letter.to_string().repeat(64 * 1024));
    let strings = vec![text; 7 * MIB / (64 * 1024)];
    let registration = Registration::new("big", name).version(version);
    client.register_well(&registration.publish(Some(&strings)));
}

/// Reads pushes until there was one in each range of lengths; gives the lengths of those.
fn hears<const N: usize>(client: &mut RawClient, ranges: [Range<usize>; N]) -> [usize; N] {
    let mut heard = [0; N];
    while heard.contains(&0) {
        let length = client.push("ReceivedData").content.len();
        for (range, heard) in ranges.iter().zip(&mut heard) {
            if range.contains(&length) {
                *heard = length;
            }
        }
    }
    heard
}

on_one_and_two_cores! {
    /// Three publishers of 7 MiB, one reader that takes 3 MiB/s, and a change of the list and of another service on its way.
    fn a_list_of_21_mib_reaches_a_slow_reader_and_cuts_nobody(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publishers: Vec<_> = (0..3).map(|_| node.client()).collect();
        for (number, publisher) in publishers.iter_mut().enumerate() {
            publish_big(publisher, &format!("p{number}"), 1, 'a');
        }
        let mut readers: Vec<_> = (0..3).map(|_| node.client()).collect();
        readers.push(RawClient::connect_slowly(node.addresses.bolt, 3 << 20));
        for reader in &mut readers {
            reader.register_well(&Registration::new("small", "s").subscribe("zone"));
            reader.send(&Registration::new("big", "b").subscribe("zone"));
        }
        let fast = readers.len() - 1;
        let mut long = 0;
        for reader in &mut readers[..fast] {
            [long] = hears(reader, [FULL]);
        }

        let mut other = node.client();
        let change = "a change that makes the list longer".repeat(20_000);
        for service in ["big", "small"] {
            let registration = Registration::new(service, "change");
            other.register_well(&registration.publish(Some(&[change.as_str().into()])));
        }

        let longer = long + change.len()..22 * MIB;
        for reader in &mut readers {
            hears(reader, [longer.clone(), change.len()..MIB]);
        }
        assert_eq!(node.metric("rollcall_connections_closed_total{reason=\"slow_reader\"}"), 0);
    }
}
