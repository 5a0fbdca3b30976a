//! How long a change takes through real clients. The figure is printed; the bound only catches a wait that somebody built in.

use rollcall_tests::{Client, Published, Rollcall};

const ROUNDS: usize = 50;
/// The promise is a median under 5 ms on a quiet machine; tests run on busy ones.
const MEDIAN_MAX_MS: f64 = 100.0;

on_one_and_two_cores! {
    fn a_publish_reaches_another_process_without_any_built_in_wait(cores: usize) {
        let node = Rollcall::start(cores);
        for kind in [Published::Java("5.4.2"), Published::Java("6.5.6")] {
            let service = format!("quick {kind:?}");
            let mut publisher = or_skip!(Client::of(kind, &node));
            let mut observer = or_skip!(Client::of(kind, &node));
            observer.subscribe("list", service.as_str(), "zone");
            observer.list("list");
            publisher.publish("service", service.as_str(), &["start".into()]);
            observer.lists_until_strings("list", &["start"]);

            let mut times: Vec<_> = (0..ROUNDS).map(|round| {
                let value = format!("round {round}");
                let published = publisher.republish("service", &[value.as_str().into()]);
                let seen = observer.lists_until_strings("list", &[value.as_str()]).pop().expect("the last one");
                milliseconds(seen.at.saturating_sub(published))
            }).collect();

            times.sort_by(f64::total_cmp);
            let (median, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
            println!("{kind:?}, {cores} cores: publish to push in another process: median {median:.2} ms, most {worst:.2} ms of {ROUNDS}");
            assert!(median < MEDIAN_MAX_MS, "{times:?}");
        }
    }
}

fn milliseconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64() * 1_000.0
}
