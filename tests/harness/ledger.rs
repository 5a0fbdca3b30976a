//! What publishers have said, and what a subscriber may be shown of it after what it has seen: nobody missing, nothing older.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::text::Text;

/// The round of the last word of a publisher.
const LAST: u64 = u64::MAX;

/// The newest of what each publisher of each service has said. Nobody ever leaves.
#[derive(Debug)]
pub struct Ledger {
    publishers: usize,
    rounds: Vec<AtomicU64>,
}

/// A subscriber of all services that checks each list it is shown.
#[derive(Debug)]
pub struct Witness {
    name: String,
    ledger: Arc<Ledger>,
    held: Vec<Held>,
    lists: usize,
}

/// What a witness was shown last of a service.
#[derive(Clone, Debug, Default)]
struct Held {
    version: i64,
    rounds: Vec<u64>,
}

impl Ledger {
    /// So many services, each with so many publishers, which have said nothing.
    pub fn new(services: usize, publishers: usize) -> Arc<Self> {
        let rounds = (0..services * publishers).map(|_| AtomicU64::new(0));
        Arc::new(Self {
            publishers,
            rounds: rounds.collect(),
        })
    }

    /// The names of all services, each at its number.
    pub fn services(&self) -> Vec<String> {
        let services = 0..self.rounds.len() / self.publishers;
        services.map(|service| service.to_string()).collect()
    }

    /// What a publisher says next. Whoever asks publishes it.
    pub fn next(&self, service: usize, publisher: usize) -> Text {
        let round = &self.rounds[service * self.publishers + publisher];
        let round = round.fetch_add(1, Ordering::SeqCst) + 1;
        says(service, publisher, round)
    }

    /// The last that a publisher says.
    pub fn last(&self, service: usize, publisher: usize) -> Text {
        self.rounds[service * self.publishers + publisher].store(LAST, Ordering::SeqCst);
        says(service, publisher, LAST)
    }

    /// The rounds in a list of this service, one of each publisher.
    fn rounds(&self, service: usize, list: &[Text]) -> Result<Vec<u64>, String> {
        let mut rounds = vec![0; self.publishers];
        for text in list {
            let (of, publisher, round) = parse(text).ok_or("a string that nobody says")?;
            let said = self.rounds.get(of * self.publishers + publisher);
            let said = said.filter(|_| publisher < self.publishers);
            let said = said.ok_or("a publisher that is not there")?;
            if of != service {
                return Err("a publisher of another service".to_owned());
            }
            if round > said.load(Ordering::SeqCst) {
                return Err(format!("publisher {publisher} has not said that"));
            }
            if std::mem::replace(&mut rounds[publisher], round) != 0 {
                return Err(format!("publisher {publisher} stands there twice"));
            }
        }
        match rounds.iter().position(|round| *round == 0) {
            Some(missing) => Err(format!("publisher {missing} is missing, and lives")),
            None => Ok(rounds),
        }
    }
}

fn says(service: usize, publisher: usize, round: u64) -> Text {
    Text::from(format!(
        "10.0.{publisher}.1:12200?service={service}&publisher={publisher}&round={round}"
    ))
}

fn parse(text: &Text) -> Option<(usize, usize, u64)> {
    let text = text.to_string();
    let (_, parameters) = text.split_once('?')?;
    let mut values = parameters
        .split('&')
        .map(|pair| Some(pair.split_once('=')?.1));
    let mut next = || values.next().flatten();
    let (service, publisher) = (next()?.parse().ok()?, next()?.parse().ok()?);
    Some((service, publisher, next()?.parse().ok()?))
}

impl Witness {
    /// A subscriber of all services that was shown nothing yet.
    pub fn new(name: &str, ledger: &Arc<Ledger>) -> Self {
        Self {
            name: name.to_owned(),
            held: vec![Held::default(); ledger.rounds.len() / ledger.publishers],
            ledger: Arc::clone(ledger),
            lists: 0,
        }
    }

    /// Takes a list it was shown, with its version where the client tells that; says what is wrong with it.
    pub fn sees(
        &mut self,
        service: &str,
        version: Option<i64>,
        list: &[Text],
    ) -> Result<(), String> {
        self.lists += 1;
        let number: usize = service.parse().expect("services are numbers");
        self.check(number, version, list).map_err(|wrong| {
            format!(
                "{} was shown of service {service}: {wrong}; version {version:?}, before {:?}: {list:?}",
                self.name, self.held[number]
            )
        })
    }

    /// How many lists it was shown.
    pub fn lists(&self) -> usize {
        self.lists
    }

    /// Whether it holds the last word of every publisher of every service.
    pub fn has_last(&self) -> bool {
        let is_last =
            |held: &Held| !held.rounds.is_empty() && held.rounds.iter().all(|round| *round == LAST);
        self.held.iter().all(is_last)
    }

    fn check(&mut self, service: usize, version: Option<i64>, list: &[Text]) -> Result<(), String> {
        let rounds = self.ledger.rounds(service, list)?;
        let held = &mut self.held[service];
        if let Some(older) = (0..held.rounds.len()).find(|it| rounds[*it] < held.rounds[*it]) {
            return Err(format!("publisher {older} went back"));
        }
        if let Some(version) = version {
            if version < held.version {
                return Err("the version went back".to_owned());
            }
            if version == held.version && rounds != held.rounds {
                return Err("another list under the same version".to_owned());
            }
            held.version = version;
        }
        held.rounds = rounds;
        Ok(())
    }
}

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in `ROLLCALL_CRASH_SEED`, or one that nobody has tried; whoever takes it prints it.
    pub fn seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        let given = std::env::var("ROLLCALL_CRASH_SEED").ok();
        given.map_or_else(
            || RandomState::new().hash_one(std::process::id()),
            |seed| seed.parse().expect("a seed is a number"),
        )
    }

    /// Lets a time below `end` pass: a crash comes at no event's time.
    pub fn pause(&mut self, end: Duration) {
        let micros = u64::try_from(end.as_micros()).expect("a short time");
        let until = Instant::now() + Duration::from_micros(self.below(micros));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
    }

    /// The next number below `end`: SplitMix64.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_takes_what_is_whole_and_newer_and_nothing_else() {
        let ledger = Ledger::new(2, 2);
        let [old, new] = [(); 2].map(|()| ledger.next(1, 0));
        let [other, stranger] = [(1, 1), (0, 1)].map(|(service, it)| ledger.next(service, it));
        let mut witness = Witness::new("witness", &ledger);
        let full = [new.clone(), other.clone()];

        assert_eq!(witness.sees("1", Some(5), &full), Ok(()));
        assert_eq!(witness.sees("1", Some(5), &full), Ok(()));

        for (version, list, wrong) in [
            (6, vec![], "missing"),
            (6, vec![new.clone()], "publisher 1 is missing"),
            (6, vec![new.clone(), new.clone()], "twice"),
            (6, vec![new.clone(), stranger], "another service"),
            (6, vec![says(1, 0, 9), other.clone()], "has not said"),
            (6, vec![old, other.clone()], "went back"),
            (4, full.to_vec(), "version went back"),
            (5, vec![ledger.next(1, 0), other], "same version"),
        ] {
            let told = witness.sees("1", Some(version), &list).expect_err(wrong);
            assert!(told.contains(wrong), "{told}");
        }
        assert!(!witness.has_last());
    }
}
