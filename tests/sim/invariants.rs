//! What must be true at every tick, one function each; they read, draw no number and change nothing but what they remember.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_core::data::datum::Datum;
use rollcall_core::limits;
use rollcall_core::names::Scope;
use rollcall_core::session::EndedBy;

use crate::client::{Client, Publishing, Subscribing, Zones};
use crate::crashes::{self, Loss};
use crate::sockets::Push;
use crate::world::{ConnectionKey, World};

/// What an owner held at one version: zone, text and the client's version by registration id.
pub(crate) type Content = BTreeMap<String, (String, String, i64)>;

/// What the owners held, version by version.
pub(crate) struct Truth {
    history: Vec<BTreeMap<i64, Content>>,
    /// Registrations that their client took back, and whether the owner has been without them since.
    gone: BTreeMap<String, bool>,
}

impl Truth {
    pub(crate) fn new(services: usize) -> Self {
        let nothing = BTreeMap::from([(1, Content::new())]);
        Self {
            history: vec![nothing; services],
            gone: BTreeMap::new(),
        }
    }

    /// A datum may have changed.
    pub(crate) fn record(&mut self, service: usize, datum: Option<&Datum>) -> Result<(), String> {
        let Some(datum) = datum else {
            return Ok(());
        };
        let version = datum.version().wire();
        let content = content_of(datum);
        for (register_id, is_away) in &mut self.gone {
            let is_there = content.contains_key(register_id);
            let is_its = register_id.contains(&format!("@{service}."));
            if is_there && *is_away {
                return Err(format!("{register_id} is shown again after it was removed"));
            }
            *is_away |= is_its && !is_there;
        }
        let history = &mut self.history[service];
        match history.get_mut(&version) {
            Some(known) if !shown(known).eq(shown(&content)) => {
                return Err(format!("two contents have version {version}"));
            }
            Some(known) => *known = content,
            None => {
                let newest = history.keys().next_back();
                if newest.is_some_and(|&newest| newest > version) {
                    return Err(format!("the owner went back to version {version}"));
                }
                history.insert(version, content);
            }
        }
        Ok(())
    }

    /// The owner is back with this datum: what it had given beyond that was shown to nobody, or is given anew.
    pub(crate) fn restart(&mut self, service: usize, datum: Option<&Datum>, loss: Loss) {
        let version = datum.map_or(1, |datum| datum.version().wire());
        // Records are lost in any order with the power: under the last version there may be another content.
        let is_kept = |known: i64| known < version || known == version && loss == Loss::Process;
        self.history[service].retain(|&known, _| known == 1 || is_kept(known));
        self.gone.clear();
    }

    /// A client was answered; if that was to its last word on a registration, that is gone for good.
    pub(crate) fn answered(&mut self, client: &Client, register_id: &str, version: i64) {
        let mut publishers = client.publishers.iter();
        let one = publishers.find(|one| one.register_id == register_id);
        if one.is_some_and(|one| !one.wanted && one.version == version) {
            self.gone.entry(register_id.to_owned()).or_insert(false);
        }
    }

    /// How many versions a service had before this one: 0 is that of nothing known.
    pub(crate) fn ordinal(&self, service: usize, version: i64) -> usize {
        self.history[service].range(..version).count()
    }

    fn newest(&self, service: usize) -> &Content {
        let newest = self.history[service].values().next_back();
        newest.expect("version 1 is always there")
    }
}

pub(crate) fn content_of(datum: &Datum) -> Content {
    let publishers = datum.publishers().iter();
    publishers
        .map(|publisher| {
            let texts = publisher.boxes.texts().flatten();
            let text: String = texts
                .map(|text| text.to_str().expect("plain").into_owned())
                .collect();
            let held = (publisher.zone.to_string(), text, publisher.order.version);
            (publisher.register_id.to_string(), held)
        })
        .collect()
}

/// All of a content that anybody sees.
fn shown(content: &Content) -> impl Iterator<Item = (&String, &String, &String)> {
    content.iter().map(|(id, (zone, text, _))| (id, zone, text))
}

/// The part of a content that a subscriber sees.
fn part(content: &Content, scope: &str, zone: &str) -> Zones {
    let mut zones = Zones::new();
    for (publisher_zone, text, _) in content.values() {
        if scope != "zone" || publisher_zone == zone {
            let texts: &mut Vec<String> = zones.entry(publisher_zone.clone()).or_default();
            texts.push(text.clone());
        }
    }
    zones
}

/// All that is true of a push alone.
pub(crate) fn check_push(world: &mut World, key: ConnectionKey, push: &Push) -> Result<(), String> {
    a_push_reaches_only_who_asked_there(world, key, push)?;
    a_push_never_goes_back(world, key, push)?;
    if world.life > 0 {
        crashes::check_push(world, key, push)?;
    }
    a_push_shows_what_the_owner_had_at_its_version(world, push)
}

/// All that is true of the world.
pub(crate) fn check(world: &mut World) {
    if world.is_lossless()
        && let Err(what) = the_owner_has_what_was_acknowledged(world)
    {
        world.break_rule(what);
    }
}

/// All that is true of a world in which nothing happened for a while.
pub(crate) fn check_quiet(world: &World) -> Result<(), String> {
    the_owners_hold_what_living_clients_publish(world)?;
    every_subscriber_holds_the_newest(world)
}

/// A message of one connection never reaches another.
fn a_push_reaches_only_who_asked_there(
    world: &World,
    key: ConnectionKey,
    push: &Push,
) -> Result<(), String> {
    let Some(connection) = world.connections.get(&key) else {
        return Err(format!("{key:?} was pushed to and is not there"));
    };
    if push.register_ids.is_empty() {
        return Err(format!("{key:?} was pushed to for nobody"));
    }
    for register_id in &push.register_ids {
        let is_of_service = register_id.contains(&format!("@{}.", push.service));
        if !connection.asked.contains(register_id) || !is_of_service {
            return Err(format!(
                "{key:?} was pushed what is meant for {register_id}"
            ));
        }
    }
    Ok(())
}

/// A subscriber never sees a version go back.
fn a_push_never_goes_back(
    world: &mut World,
    key: ConnectionKey,
    push: &Push,
) -> Result<(), String> {
    let connection = world.connections.get_mut(&key).expect("checked before");
    for register_id in &push.register_ids {
        let last = connection.pushed.insert(register_id.clone(), push.version);
        if last.is_some_and(|last| last > push.version) {
            return Err(format!(
                "{register_id} was pushed version {} after {last:?}",
                push.version
            ));
        }
    }
    Ok(())
}

/// No empty or partial push, and pushes of one version are equal: each shows exactly what the owner had at its version.
fn a_push_shows_what_the_owner_had_at_its_version(
    world: &World,
    push: &Push,
) -> Result<(), String> {
    let Some(content) = world.truth.history[push.service].get(&push.version) else {
        return Err(format!("version {} was never given", push.version));
    };
    let expected = part(content, &push.scope, &push.zone);
    if expected != push.zones {
        return Err(format!(
            "version {} of service {} is {expected:?} and was pushed as {:?}",
            push.version, push.service, push.zones
        ));
    }
    Ok(())
}

/// What a client was told is registered stays so while its connection lives, and for the grace if we ended that.
fn the_owner_has_what_was_acknowledged(world: &World) -> Result<(), String> {
    for client in &world.clients {
        for one in client.publishers.iter().filter(|one| one.wanted) {
            let Some((version, key)) = one.acknowledged else {
                continue;
            };
            let is_outdated = one.version > version && later_closed(world, key);
            if is_outdated || !is_protected(world, key) {
                continue;
            }
            let held = world.truth.newest(one.service).get(&one.register_id);
            if held.is_none_or(|&(_, _, held)| held < version) {
                return Err(format!(
                    "{} was acknowledged at version {version}, the owner has {held:?}",
                    one.register_id
                ));
            }
        }
    }
    Ok(())
}

/// Whether the client closed a later connection: what it may have declared there anew went with that, and forbids what is older.
fn later_closed(world: &World, key: ConnectionKey) -> bool {
    let Some(connection) = world.connections.get(&key) else {
        return false;
    };
    let mut others = world.connections.values();
    others.any(|other| {
        let is_closed = matches!(other.ended, Some((by, _)) if by != EndedBy::Us);
        other.client == connection.client && other.number > connection.number && is_closed
    })
}

fn is_protected(world: &World, key: ConnectionKey) -> bool {
    let Some(connection) = world.connections.get(&key) else {
        return false;
    };
    // A later connection may have taken it over, and taken it along.
    let mut others = world.connections.values();
    let is_last =
        !others.any(|other| other.client == connection.client && other.number > connection.number);
    match connection.ended {
        None => true,
        Some((EndedBy::Us, at)) => is_last && world.now.monotonic.since(at) < limits::GRACE,
        Some(_) => false,
    }
}

/// Nothing acknowledged is unknown, nothing dead or taken back is left.
fn the_owners_hold_what_living_clients_publish(world: &World) -> Result<(), String> {
    for service in 0..world.services.len() {
        let published: BTreeSet<(String, String)> = world
            .clients
            .iter()
            .filter(|client| client.lives)
            .flat_map(|client| &client.publishers)
            .filter(|one| one.service == service)
            .map(|one: &Publishing| (one.register_id.clone(), one.text.clone()))
            .collect();
        let held: BTreeSet<(String, String)> = world
            .truth
            .newest(service)
            .iter()
            .map(|(id, (_, text, _))| (id.clone(), text.clone()))
            .collect();
        if published != held {
            return Err(format!(
                "service {service}: clients publish {published:?}, the owner has {held:?}"
            ));
        }
    }
    Ok(())
}

/// Every subscriber holds what it would be pushed anew.
fn every_subscriber_holds_the_newest(world: &World) -> Result<(), String> {
    let living = world.clients.iter().filter(|client| client.lives);
    for one in living.flat_map(|client| &client.subscribers) {
        let Subscribing {
            service,
            zone,
            scope,
            ..
        } = *one;
        let expected = part(world.truth.newest(service), Scope::as_str(scope), zone);
        let held = one.held.as_ref().map(|(_, zones)| zones);
        if held != Some(&expected) {
            return Err(format!(
                "{} holds {:?}, the newest is {expected:?}",
                one.register_id, one.held
            ));
        }
    }
    Ok(())
}
