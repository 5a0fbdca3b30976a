//! Strings arrive as they were sent, whatever they are.

use rollcall_tests::{Client, Published, Registration, Rollcall, Text};

/// What is hard to keep: lone surrogates, pairs across the border between two chunks, and more.
fn hard_strings() -> Vec<Text> {
    let pair = [0xd83d, 0xde00];
    let over_border = |before: usize| {
        Text::of_units([vec![0x61; before], pair.to_vec(), vec![0x62; 10]].concat())
    };
    vec![
        Text::of_units([0xd800]),
        Text::of_units([0x61, 0xdc00, 0x62, 0xd800]),
        Text::of_units([0xdc00, 0xd800]),
        over_border(32_766),
        over_border(32_767),
        over_border(32_768),
        over_border(65_535),
        Text::of_units(vec![0xd800; 32_769]),
        Text::default(),
        "é 漢 😀 \u{0} \n \" \\".into(),
        "twice".into(),
        "twice".into(),
        Text::from("漢".repeat(100_000)),
    ]
}

on_one_and_two_cores! {
    fn strings_of_any_utf_16_arrive_in_order_as_they_were_sent(cores: usize) {
        let node = Rollcall::start(cores);
        let mut observer = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        for kind in [Published::Java("5.4.2"), Published::Java("6.3.0"), Published::Node] {
            let service = format!("hard strings of {kind:?}");
            let mut publisher = or_skip!(Client::of(kind, &node));
            observer.subscribe(&service, service.as_str(), "zone");

            publisher.publish("service", service.as_str(), &hard_strings());

            let list = observer.lists_until(&service, |seen| !seen.zones.is_empty()).pop().expect("the last one");
            assert_eq!(list.zones["DEFAULT_ZONE"], hard_strings(), "{kind:?}");
        }
    }

    fn the_bytes_of_a_string_are_those_that_were_sent(cores: usize) {
        let node = Rollcall::start(cores);
        let mut publisher = node.client();
        let mut subscriber = node.client();
        subscriber.register_well(&Registration::new("bytes", "s").subscribe("zone"));
        assert!(subscriber.list().zones.is_empty());
        // A text of 9 units in chunks of 2, 3, 0 and 4: legal, and not what an encoder would write.
        let chunks = b"s\x00\x02abs\x00\x03cdes\x00\x00S\x00\x04fghi";
        let whole = publisher.request(&Registration::new("bytes", "p").publish(Some(&["MARK".into()])));
        let mark = b"\x04MARK";
        let at = whole.content.windows(mark.len()).position(|bytes| bytes == mark).expect("the string is in there");
        let mut sent = whole;
        sent.content.splice(at..at + mark.len(), chunks.iter().copied());

        publisher.send_bytes(&sent.encode());
        assert!(publisher.registered(sent.id).success);

        let pushed = subscriber.push("ReceivedData");
        assert!(pushed.content.windows(chunks.len()).any(|bytes| bytes == chunks), "{:02x?}", pushed.content);
    }

    fn a_publisher_without_strings_leaves_its_zone_with_an_empty_list(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in [Published::Java("5.4.2"), Published::Java("6.5.6"), Published::Node] {
            let service = format!("no strings of {kind:?}");
            let mut client = or_skip!(Client::of(kind, &node));
            client.subscribe("list", service.as_str(), "zone");
            assert!(client.list("list").zones.is_empty());

            client.publish("service", service.as_str(), &[]);

            let lists = client.lists_until("list", |seen| seen.zones.contains_key("DEFAULT_ZONE"));
            assert!(lists.last().expect("the last one").strings().is_empty());
            client.unregister("service");
            client.lists_until("list", |seen| seen.zones.is_empty());
        }
    }

    fn a_megabyte_of_text_arrives(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        client.subscribe("list", "large", "zone");
        let large = [Text::from("x".repeat(1 << 20)), Text::from("漢".repeat((1 << 20) / 3))];

        client.publish("service", "large", &large);

        client.lists_until_strings("list", &large);
    }
}
