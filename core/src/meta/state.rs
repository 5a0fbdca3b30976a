//! The operators' data as a state machine: a command in, what it means out, the same at every holder.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Applied, Blacklist, Effect, MetaCommand, OffClient, Refusal, Side, Switch};
use crate::limits;
use crate::names::DataInfoId;

/// All that operators told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaState {
    provided: BTreeMap<DataInfoId, Provided>,
    provided_bytes: usize,
    /// Asked before every push, therefore kept beside the stored text.
    push_stopped: bool,
    blacklist: Blacklist,
    off: BTreeMap<IpAddr, OffSince>,
    off_version: i64,
    shutdown: bool,
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provided {
    /// Only grows.
    pub version: i64,
    /// `None` after a removal, which keeps its version so that a later value cannot be older.
    pub value: Option<Arc<str>>,
}

/// A client that is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffSince {
    /// The client and what of it is off.
    pub client: OffClient,
    /// The version of the list when it was put there.
    pub version: i64,
}

impl MetaState {
    /// Takes a command, or says why not. Whoever proposed it wants the result; whoever follows acts on the effect.
    pub fn apply(&mut self, command: MetaCommand) -> Result<Applied, Refusal> {
        match command {
            MetaCommand::Put {
                data_info_id,
                version,
                value,
            } => self.put(data_info_id, version, value),
            MetaCommand::Remove {
                data_info_id,
                version,
            } => self.remove(data_info_id, version),
            MetaCommand::Turn {
                switch,
                on,
                version,
            } => self.turn(switch, on, version),
            MetaCommand::Blacklist {
                blacklist,
                text,
                version,
            } => self.set_blacklist(blacklist, text, version),
            MetaCommand::ClientsOff(clients) => self.take_off(clients),
            MetaCommand::ClientsOpen(ips) => Ok(self.take_on(ips)),
            MetaCommand::Shutdown { requested } => self.set_shutdown(requested),
        }
    }

    /// Whether nothing may be pushed.
    pub fn is_push_stopped(&self) -> bool {
        self.push_stopped
    }

    /// Whether a client's publishers, or subscribers, are refused.
    pub fn is_blacklisted(&self, side: Side, ip: IpAddr) -> bool {
        let list = match side {
            Side::Publisher => &self.blacklist.publishers,
            Side::Subscriber => &self.blacklist.subscribers,
        };
        !list.is_empty() && list.contains(&ip.to_canonical())
    }

    /// Whether an operator took this side of a client off.
    pub fn is_client_off(&self, side: Side, ip: IpAddr) -> bool {
        if self.off.is_empty() {
            return false;
        }
        self.off
            .get(&ip.to_canonical())
            .is_some_and(|off| match side {
                Side::Publisher => off.client.publishers,
                Side::Subscriber => off.client.subscribers,
            })
    }

    /// The value stored under an id, or its removal; `None` if there never was one.
    pub fn provided(&self, data_info_id: &DataInfoId) -> Option<&Provided> {
        self.provided.get(data_info_id)
    }

    /// How a switch was turned; `None` if it never was.
    pub fn switch(&self, switch: Switch) -> Option<bool> {
        let provided = self.provided.get(&switch.data_info_id())?;
        provided.value.as_deref().map(|value| value == ON)
    }

    /// The blacklist.
    pub fn blacklist(&self) -> &Blacklist {
        &self.blacklist
    }

    /// The clients that are off, by address.
    pub fn clients_off(&self) -> impl Iterator<Item = &OffSince> {
        self.off.values()
    }

    /// How often the list of clients that are off was changed.
    pub fn clients_off_version(&self) -> i64 {
        self.off_version
    }

    /// Whether the sessions were asked to stop.
    pub fn is_shutdown_requested(&self) -> bool {
        self.shutdown
    }

    fn put(
        &mut self,
        data_info_id: DataInfoId,
        version: i64,
        value: Arc<str>,
    ) -> Result<Applied, Refusal> {
        check_not_reserved(&data_info_id)?;
        let held = self.provided.get(&data_info_id);
        match held {
            Some(held) if held.version == version && held.value.as_ref() == Some(&value) => {
                return Ok(unchanged(version));
            }
            Some(held) if held.version >= version => {
                return Err(Refusal::NotNewer {
                    held: held.version,
                    given: version,
                });
            }
            _ => (),
        }
        self.check_room(&data_info_id, value.len())?;
        Ok(self.store(data_info_id, version, Some(value), Effect::Nothing))
    }

    fn remove(&mut self, data_info_id: DataInfoId, version: i64) -> Result<Applied, Refusal> {
        check_not_reserved(&data_info_id)?;
        let Some(held) = self.provided.get(&data_info_id) else {
            return Ok(unchanged(version));
        };
        if held.value.is_none() {
            return Ok(unchanged(held.version));
        }
        if held.version > version {
            return Err(Refusal::NotNewer {
                held: held.version,
                given: version,
            });
        }
        // A client drops a value only for a newer version, and operators like to name the version that they remove.
        let version = version.max(held.version.saturating_add(1));
        Ok(self.store(data_info_id, version, None, Effect::Nothing))
    }

    fn turn(&mut self, switch: Switch, on: bool, version: i64) -> Result<Applied, Refusal> {
        let was_stopped = self.push_stopped;
        let effect = match switch {
            Switch::StopPush if on && !was_stopped => Effect::PushStopped,
            Switch::StopPush if !on && was_stopped => Effect::PushResumed,
            _ => Effect::Nothing,
        };
        if switch == Switch::StopPush {
            self.push_stopped = on;
        }
        let value = if on { ON } else { OFF };
        Ok(self.store_setting(switch.data_info_id(), version, value.into(), effect))
    }

    fn set_blacklist(
        &mut self,
        blacklist: Blacklist,
        text: Arc<str>,
        version: i64,
    ) -> Result<Applied, Refusal> {
        let limit = limits::BLACKLIST_ADDRESSES_MAX;
        if blacklist.publishers.len().max(blacklist.subscribers.len()) > limit {
            return Err(Refusal::TooManyAddresses { limit });
        }
        let id = Blacklist::data_info_id();
        self.check_room(&id, text.len())?;
        self.blacklist = blacklist;
        Ok(self.store_setting(id, version, text, Effect::BlacklistChanged))
    }

    fn take_off(&mut self, clients: Vec<OffClient>) -> Result<Applied, Refusal> {
        let limit = limits::CLIENTS_OFF_MAX;
        if self.off.len().saturating_add(clients.len()) > limit {
            return Err(Refusal::TooManyAddresses { limit });
        }
        for client in &clients {
            let client = OffClient {
                ip: client.ip.to_canonical(),
                ..*client
            };
            let since = OffSince {
                client,
                version: self.off_version,
            };
            self.off.insert(client.ip, since);
        }
        Ok(self.changed_clients(Effect::ClientsOff(clients)))
    }

    fn take_on(&mut self, ips: Vec<IpAddr>) -> Applied {
        for ip in &ips {
            self.off.remove(&ip.to_canonical());
        }
        self.changed_clients(Effect::ClientsOpened(ips))
    }

    fn changed_clients(&mut self, effect: Effect) -> Applied {
        self.off_version += 1;
        Applied {
            version: self.off_version,
            provided: None,
            effect,
        }
    }

    fn set_shutdown(&mut self, requested: bool) -> Result<Applied, Refusal> {
        if requested && !self.push_stopped {
            return Err(Refusal::NotStopped);
        }
        self.shutdown = requested;
        let effect = if requested {
            Effect::Shutdown
        } else {
            Effect::Nothing
        };
        Ok(Applied {
            version: 0,
            provided: None,
            effect,
        })
    }

    /// Stores a value of the registry itself, whose version comes from a clock and so may have to be raised.
    fn store_setting(
        &mut self,
        id: DataInfoId,
        version: i64,
        value: Arc<str>,
        effect: Effect,
    ) -> Applied {
        let least = self
            .provided
            .get(&id)
            .map_or(i64::MIN, |held| held.version.saturating_add(1));
        self.store(id, version.max(least), Some(value), effect)
    }

    fn store(
        &mut self,
        id: DataInfoId,
        version: i64,
        value: Option<Arc<str>>,
        effect: Effect,
    ) -> Applied {
        let length = |value: &Option<Arc<str>>| value.as_ref().map_or(0, |value| value.len());
        self.provided_bytes += length(&value);
        if let Some(before) = self
            .provided
            .insert(id.clone(), Provided { version, value })
        {
            self.provided_bytes -= length(&before.value);
        }
        Applied {
            version,
            provided: Some(id),
            effect,
        }
    }

    /// Whether another `bytes` fit; a removal's memory gives way to a new value.
    fn check_room(&mut self, id: &DataInfoId, bytes: usize) -> Result<(), Refusal> {
        if self.provided_bytes.saturating_add(bytes) > limits::PROVIDED_BYTES_MAX {
            return Err(Refusal::TooManyBytes {
                limit: limits::PROVIDED_BYTES_MAX,
            });
        }
        if self.provided.len() < limits::PROVIDED_VALUES_MAX || self.provided.contains_key(id) {
            return Ok(());
        }
        let removed = self
            .provided
            .iter()
            .filter(|(_, provided)| provided.value.is_none());
        let oldest = removed
            .min_by_key(|(_, provided)| provided.version)
            .map(|(id, _)| id.clone());
        let oldest = oldest.ok_or(Refusal::TooManyValues {
            limit: limits::PROVIDED_VALUES_MAX,
        })?;
        self.provided.remove(&oldest);
        Ok(())
    }
}

/// The texts of a switch, as 5.4.2 stores them.
const ON: &str = "true";
const OFF: &str = "false";

fn unchanged(version: i64) -> Applied {
    Applied {
        version,
        provided: None,
        effect: Effect::Nothing,
    }
}

fn check_not_reserved(id: &DataInfoId) -> Result<(), Refusal> {
    let is_switch = Switch::ALL
        .iter()
        .any(|switch| switch.data_info_id() == *id);
    match is_switch || Blacklist::data_info_id() == *id {
        true => Err(Refusal::Reserved {
            data_info_id: id.clone(),
        }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> DataInfoId {
        DataInfoId::new(name, "", "")
    }

    fn put(state: &mut MetaState, version: i64, value: &str) -> Result<Applied, Refusal> {
        let command = MetaCommand::Put {
            data_info_id: id("a"),
            version,
            value: value.into(),
        };
        state.apply(command)
    }

    fn remove(state: &mut MetaState, version: i64) -> Result<Applied, Refusal> {
        state.apply(MetaCommand::Remove {
            data_info_id: id("a"),
            version,
        })
    }

    fn turn(state: &mut MetaState, switch: Switch, on: bool, version: i64) -> Applied {
        let turned = state.apply(MetaCommand::Turn {
            switch,
            on,
            version,
        });
        turned.expect("a switch can be turned")
    }

    #[test]
    fn a_value_is_replaced_by_a_newer_one_only() {
        let mut state = MetaState::default();

        assert_eq!(
            put(&mut state, 5, "one").map(|applied| applied.provided),
            Ok(Some(id("a")))
        );
        assert_eq!(
            put(&mut state, 5, "two"),
            Err(Refusal::NotNewer { held: 5, given: 5 })
        );
        assert_eq!(
            put(&mut state, 4, "two"),
            Err(Refusal::NotNewer { held: 5, given: 4 })
        );
        assert!(put(&mut state, 6, "two").is_ok());

        let held = state.provided(&id("a")).expect("a value");
        assert_eq!((held.version, held.value.as_deref()), (6, Some("two")));
    }

    #[test]
    fn the_same_put_again_succeeds_and_tells_nobody() {
        let mut state = MetaState::default();
        put(&mut state, 5, "one").expect("the first value");

        let again = put(&mut state, 5, "one");

        assert_eq!(again, Ok(unchanged(5)));
    }

    #[test]
    fn a_removal_has_a_version_above_the_value_and_is_remembered() {
        let mut state = MetaState::default();
        put(&mut state, 5, "one").expect("the first value");

        assert_eq!(
            remove(&mut state, 4),
            Err(Refusal::NotNewer { held: 5, given: 4 })
        );
        assert_eq!(remove(&mut state, 5).map(|applied| applied.version), Ok(6));

        assert_eq!(
            state.provided(&id("a")),
            Some(&Provided {
                version: 6,
                value: None
            })
        );
        assert_eq!(
            put(&mut state, 6, "late"),
            Err(Refusal::NotNewer { held: 6, given: 6 })
        );
    }

    #[test]
    fn a_removal_of_what_never_was_succeeds_and_leaves_nothing() {
        let mut state = MetaState::default();

        assert_eq!(remove(&mut state, 1), Ok(unchanged(1)));

        assert_eq!(state, MetaState::default());
    }

    #[test]
    fn a_switch_that_turns_says_so_once_and_its_version_grows() {
        let mut state = MetaState::default();

        let stopped = turn(&mut state, Switch::StopPush, true, 100);
        let again = turn(&mut state, Switch::StopPush, true, 100);
        assert!(state.is_push_stopped());
        let resumed = turn(&mut state, Switch::StopPush, false, 90);

        assert_eq!(
            [&stopped.effect, &again.effect, &resumed.effect],
            [&Effect::PushStopped, &Effect::Nothing, &Effect::PushResumed]
        );
        assert_eq!(
            [stopped.version, again.version, resumed.version],
            [100, 101, 102]
        );
        assert!(!state.is_push_stopped());
    }

    #[test]
    fn a_switch_never_turned_is_neither_on_nor_off() {
        let mut state = MetaState::default();

        turn(&mut state, Switch::SessionRenew, false, 1);

        assert_eq!(state.switch(Switch::SessionRenew), Some(false));
        assert_eq!(state.switch(Switch::DatumExpire), None);
    }

    #[test]
    fn a_blacklist_is_about_one_side_of_a_client() {
        let mut state = MetaState::default();
        let ip: IpAddr = "10.0.0.1".parse().expect("an address");
        let blacklist = Blacklist {
            publishers: [ip].into(),
            ..Blacklist::default()
        };

        let command = MetaCommand::Blacklist {
            blacklist,
            text: "{}".into(),
            version: 1,
        };
        let applied = state.apply(command).expect("a short list");

        assert_eq!(applied.effect, Effect::BlacklistChanged);
        assert_eq!(applied.provided, Some(Blacklist::data_info_id()));
        assert!(state.is_blacklisted(
            Side::Publisher,
            "::ffff:10.0.0.1".parse().expect("an address")
        ));
        assert!(!state.is_blacklisted(Side::Subscriber, ip));
    }

    #[test]
    fn a_client_is_off_until_it_is_on_again() {
        let mut state = MetaState::default();
        let ip: IpAddr = "10.0.0.1".parse().expect("an address");
        let client = OffClient {
            ip,
            publishers: true,
            subscribers: false,
        };

        let off = state
            .apply(MetaCommand::ClientsOff(vec![client]))
            .expect("room");
        assert_eq!(
            (off.version, state.is_client_off(Side::Publisher, ip)),
            (1, true)
        );
        assert!(!state.is_client_off(Side::Subscriber, ip));
        let on = state
            .apply(MetaCommand::ClientsOpen(vec![ip]))
            .expect("always");

        assert_eq!(
            (on.version, on.effect),
            (2, Effect::ClientsOpened(vec![ip]))
        );
        assert!(!state.is_client_off(Side::Publisher, ip));
    }

    #[test]
    fn sessions_stop_only_while_pushing_is_stopped() {
        let mut state = MetaState::default();

        let early = state.apply(MetaCommand::Shutdown { requested: true });
        turn(&mut state, Switch::StopPush, true, 1);
        let late = state.apply(MetaCommand::Shutdown { requested: true });

        assert_eq!(early, Err(Refusal::NotStopped));
        assert_eq!(late.map(|applied| applied.effect), Ok(Effect::Shutdown));
    }

    #[test]
    fn a_setting_cannot_be_changed_as_if_it_were_a_value() {
        let mut state = MetaState::default();
        let data_info_id = Switch::StopPush.data_info_id();

        let refused = state.apply(MetaCommand::Put {
            data_info_id: data_info_id.clone(),
            version: 1,
            value: ON.into(),
        });

        assert_eq!(refused, Err(Refusal::Reserved { data_info_id }));
    }

    #[test]
    fn values_are_bounded_and_removals_give_way() {
        let mut state = MetaState::default();
        for number in 0..limits::PROVIDED_VALUES_MAX {
            let data_info_id = id(&number.to_string());
            state
                .apply(MetaCommand::Put {
                    data_info_id,
                    version: 1,
                    value: "x".into(),
                })
                .expect("room");
        }

        let full = put(&mut state, 1, "one more");
        state
            .apply(MetaCommand::Remove {
                data_info_id: id("7"),
                version: 1,
            })
            .expect("it is there");
        let after_removal = put(&mut state, 1, "one more");

        assert_eq!(
            full,
            Err(Refusal::TooManyValues {
                limit: limits::PROVIDED_VALUES_MAX
            })
        );
        assert!(after_removal.is_ok());
        assert_eq!(state.provided(&id("7")), None);
    }
}
