//! What clients and sessions say to each other, as raw clients need it.

use std::collections::BTreeMap;

use crate::hessian::Value;
use crate::text::Text;

const PACKAGE: &str = "com.alipay.sofa.registry.core.model";

/// The full name of a class of the client protocol.
pub fn class(name: &str) -> String {
    format!("{PACKAGE}.{name}")
}

/// What every registration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The service.
    pub data_id: Text,
    /// Its group.
    pub group: Text,
    /// The tenant; null says the default one.
    pub instance: Option<Text>,
    /// The client's zone.
    pub zone: Text,
    /// The key of the registration, the same over reconnects.
    pub regist_id: Text,
    /// Counts what the client said about this registration.
    pub version: i64,
    /// The client's clock.
    pub timestamp: i64,
}

impl Registration {
    /// A registration for a service in the default group and zone, in its first version.
    pub fn new(data_id: &str, regist_id: &str) -> Self {
        Self {
            data_id: data_id.into(),
            group: "DEFAULT_GROUP".into(),
            instance: None,
            zone: "DEFAULT_ZONE".into(),
            regist_id: regist_id.into(),
            version: 1,
            timestamp: 1_790_000_000_000,
        }
    }

    /// The same with another version.
    pub fn version(self, version: i64) -> Self {
        Self { version, ..self }
    }

    /// The same for another zone.
    pub fn zone(self, zone: &str) -> Self {
        Self {
            zone: zone.into(),
            ..self
        }
    }

    /// PublisherRegister; without strings it unregisters.
    pub fn publish(&self, strings: Option<&[Text]>) -> Value {
        let event = if strings.is_some() {
            "REGISTER"
        } else {
            "UNREGISTER"
        };
        let boxed = |text: &Text| {
            Value::Object(
                class("DataBox"),
                vec![("data".into(), Value::Text(text.clone()))],
            )
        };
        let list = strings.map_or(Value::Null, |strings| {
            Value::List(strings.iter().map(boxed).collect())
        });
        let mut fields = self.fields(event);
        fields.push(("dataList".into(), list));
        Value::Object(class("PublisherRegister"), fields)
    }

    /// SubscriberRegister for a scope.
    pub fn subscribe(&self, scope: &str) -> Value {
        let mut fields = vec![("scope".into(), Value::Text(scope.into()))];
        fields.extend(self.fields("REGISTER"));
        Value::Object(class("SubscriberRegister"), fields)
    }

    /// SubscriberRegister that ends a subscription.
    pub fn unsubscribe(&self, scope: &str) -> Value {
        let mut fields = vec![("scope".into(), Value::Text(scope.into()))];
        fields.extend(self.fields("UNREGISTER"));
        Value::Object(class("SubscriberRegister"), fields)
    }

    /// ConfiguratorRegister.
    pub fn configure(&self) -> Value {
        Value::Object(class("ConfiguratorRegister"), self.fields("REGISTER"))
    }

    fn fields(&self, event: &str) -> Vec<(String, Value)> {
        let text = |text: &Text| Value::Text(text.clone());
        [
            ("instanceId", Value::text_or_null(self.instance.clone())),
            ("zone", text(&self.zone)),
            ("appName", Value::Text("raw".into())),
            ("dataId", text(&self.data_id)),
            ("group", text(&self.group)),
            ("processId", Value::Null),
            ("registId", text(&self.regist_id)),
            ("clientId", Value::Null),
            ("dataInfoId", Value::Null),
            ("ip", Value::Null),
            ("port", Value::Null),
            ("eventType", Value::Text(event.into())),
            ("version", Value::Long(self.version)),
            ("timestamp", Value::Long(self.timestamp)),
            ("attributes", Value::Map(Vec::new())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// SyncConfigRequest.
pub fn sync_config() -> Value {
    let field = |name: &str, value: &str| (name.to_owned(), Value::Text(value.into()));
    Value::Object(
        class("SyncConfigRequest"),
        vec![
            field("dataCenter", "DefaultDataCenter"),
            field("zone", "DEFAULT_ZONE"),
        ],
    )
}

/// CancelAddressRequest.
pub fn cancel_addresses(connections: &[&str]) -> Value {
    let connections = connections.iter().map(|&text| Value::Text(text.into()));
    Value::Object(
        "com.alipay.sofa.registry.common.model.sessionserver.CancelAddressRequest".into(),
        vec![("connectIds".into(), Value::List(connections.collect()))],
    )
}

/// The acknowledgement of a push.
pub fn result(success: bool) -> Value {
    let message = if success {
        Value::Null
    } else {
        Value::Text("".into())
    };
    Value::Object(
        class("Result"),
        vec![
            ("success".into(), Value::Bool(success)),
            ("message".into(), message),
        ],
    )
}

/// RegisterResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Whether the registration holds.
    pub success: bool,
    /// Which registration.
    pub regist_id: Option<Text>,
    /// The version the client sent.
    pub version: i64,
    /// Whether the client should give up for good.
    pub refused: bool,
    /// Words for people.
    pub message: Option<Text>,
}

impl Registered {
    /// Reads a RegisterResponse.
    pub fn of(value: &Value) -> Self {
        Self {
            success: value.field("success") == &Value::Bool(true),
            regist_id: value.field("registId").text(),
            version: value
                .field("version")
                .number()
                .expect("a response has a version"),
            refused: value.field("refused") == &Value::Bool(true),
            message: value.field("message").text(),
        }
    }
}

/// What subscribers are shown: strings by zone.
pub type Zones = BTreeMap<String, Vec<Text>>;

/// ReceivedData.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The service.
    pub data_id: Text,
    /// Its group.
    pub group: Text,
    /// The tenant.
    pub instance: Text,
    /// The data partition.
    pub segment: Text,
    /// The scope of the subscribers it is for.
    pub scope: Text,
    /// Its version.
    pub version: i64,
    /// The zone the subscribers live in.
    pub local_zone: Text,
    /// The subscribers it is for.
    pub regist_ids: Vec<Text>,
    /// The strings.
    pub zones: Zones,
}

impl List {
    /// Reads a ReceivedData.
    pub fn of(value: &Value) -> Self {
        let text = |name: &str| {
            value
                .field(name)
                .text()
                .unwrap_or_else(|| panic!("a list without {name}: {value:?}"))
        };
        let Value::Map(zones) = value.field("data") else {
            panic!("a list without data: {value:?}")
        };
        Self {
            data_id: text("dataId"),
            group: text("group"),
            instance: text("instanceId"),
            segment: text("segment"),
            scope: text("scope"),
            version: value
                .field("version")
                .number()
                .expect("a list has a version"),
            local_zone: text("localZone"),
            regist_ids: value
                .field("subscriberRegistIds")
                .items()
                .iter()
                .filter_map(Value::text)
                .collect(),
            zones: zones.iter().map(zone).collect(),
        }
    }

    /// The strings of all zones, sorted: the order between publishers means nothing.
    pub fn strings(&self) -> Vec<Text> {
        sorted_strings(&self.zones)
    }
}

fn zone((name, boxes): &(Value, Value)) -> (String, Vec<Text>) {
    let Value::List(boxes) = boxes else {
        panic!("zone {name:?} has no list")
    };
    let string = |item: &Value| item.field("data").text().expect("a box has a string");
    (
        name.text().expect("a zone has a name").to_string(),
        boxes.iter().map(string).collect(),
    )
}

/// The strings of all zones, sorted.
pub fn sorted_strings(zones: &Zones) -> Vec<Text> {
    let mut strings: Vec<_> = zones.values().flatten().cloned().collect();
    strings.sort();
    strings
}

/// ReceivedConfigData.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The setting.
    pub data_id: Text,
    /// Its version; the original leaves it out where there is no value.
    pub version: Option<i64>,
    /// The configurators it is for.
    pub regist_ids: Vec<Text>,
    /// The value, if there is one.
    pub value: Option<Text>,
}

impl Config {
    /// Reads a ReceivedConfigData.
    pub fn of(value: &Value) -> Self {
        let boxed = value.field("dataBox");
        Self {
            data_id: value.field("dataId").text().expect("a setting has a name"),
            version: value.field("version").number(),
            regist_ids: value
                .field("configuratorRegistIds")
                .items()
                .iter()
                .filter_map(Value::text)
                .collect(),
            value: if boxed == &Value::Null {
                None
            } else {
                boxed.field("data").text()
            },
        }
    }
}
