//! r-nacos, by the gRPC protocol of Nacos 2: a service whose one instance has the text in its metadata. What comes is the whole service, on a
//! stream that the server pushes on; its clients acknowledge.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value as Json, json};

use super::http2::{
    ACK, DATA, END_STREAM, Frame, GO_AWAY, HEADERS, PING, RESET, SETTINGS, call, first_frame,
    first_message, frame, message, preface,
};
use super::{Dialect, Heard, Newest, PUBLISHER, invalid};

const SERVICE: &str = "com.example.Fanout";
const GROUP: &str = "DEFAULT_GROUP";
/// The stream on which the server pushes, the first of every connection.
const PUSHES: u32 = 1;
/// Clients of one service.
#[derive(Debug, Default)]
pub(super) struct Rnacos {
    newest: Newest,
    connections: Vec<Connection>,
}

#[derive(Debug, Default)]
struct Connection {
    /// Whether the server knows it: before, it refuses every request.
    is_open: bool,
    /// What is said when it does.
    waiting: Vec<u8>,
    calls: u32,
    /// The data of each call, from its last whole message on.
    data: BTreeMap<u32, Vec<u8>>,
}

impl Connection {
    /// Appends a call of its own for this request, or keeps it until the server knows the connection.
    fn ask(&mut self, kind: &str, request: &Json, out: &mut Vec<u8>) {
        self.calls += 1;
        let stream = PUSHES + 2 * self.calls;
        let out = if self.is_open { out } else { &mut self.waiting };
        call(stream, "/Request/request", out);
        message(stream, &payload(kind, request), true, out);
    }

    /// A call begins to be answered, or is over.
    fn on_headers(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> io::Result<Heard> {
        let is_begun = self.data.contains_key(&frame.stream);
        if frame.has(END_STREAM) {
            if frame.stream == PUSHES || !is_begun {
                return Err(invalid(format!("call {} failed", frame.stream)));
            }
            self.data.remove(&frame.stream);
            return Ok(Heard::Nothing);
        }
        self.data.insert(frame.stream, Vec::new());
        if frame.stream == PUSHES {
            self.is_open = true;
            out.append(&mut self.waiting);
        }
        Ok(Heard::Nothing)
    }

    fn on_data(
        &mut self,
        newest: &Newest,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> io::Result<Heard> {
        let data = self.data.entry(frame.stream).or_default();
        data.extend_from_slice(frame.payload);
        let mut heard = Heard::Nothing;
        let mut taken = 0;
        while let Some((bytes, len)) = first_message(&data[taken..]) {
            let (kind, body) = fields_of(bytes)?;
            match on_message(newest, kind, body, out)? {
                Heard::Nothing => {}
                counts => heard = counts,
            }
            taken += len;
        }
        data.drain(..taken);
        Ok(heard)
    }
}

impl Rnacos {
    fn open(&mut self, connection: usize, out: &mut Vec<u8>) {
        self.connections
            .resize_with(connection + 1, Connection::default);
        preface(out);
        call(PUSHES, "/BiRequestStream/requestBiStream", out);
        let setup = json!({"module": "internal", "clientVersion": "Nacos-Rust-Client:v1", "tenant": "", "labels": {}});
        message(
            PUSHES,
            &payload("ConnectionSetupRequest", &setup),
            false,
            out,
        );
    }

    /// Appends the registration of the one instance, or of what changed.
    fn register(&mut self, metadata: Json, out: &mut Vec<u8>) {
        let request = json!({
            "module": "naming", "requestId": "2", "namespace": "public", "serviceName": SERVICE, "groupName": GROUP,
            "type": "registerInstance",
            "instance": {
                "ip": "10.0.0.1", "port": 12200, "weight": 1.0, "healthy": true, "enabled": true, "ephemeral": true,
                "clusterName": "DEFAULT", "serviceName": SERVICE, "metadata": metadata,
            },
        });
        self.connections[PUBLISHER].ask("InstanceRequest", &request, out);
    }
}

impl Dialect for Rnacos {
    fn greet(&mut self, out: &mut Vec<u8>) {
        self.open(PUBLISHER, out);
        // Metadata that an instance has from the first it keeps for ever; an instance that has none then may change it.
        self.register(json!({}), out);
    }

    fn subscribe(&mut self, subscriber: usize, out: &mut Vec<u8>) {
        self.open(subscriber, out);
        let request = json!({
            "module": "naming", "requestId": "1", "namespace": "public", "serviceName": SERVICE, "groupName": GROUP,
            "subscribe": true, "clusters": "",
        });
        self.connections[subscriber].ask("SubscribeServiceRequest", &request, out);
    }

    fn publish(&mut self, change: u64, text: &str, out: &mut Vec<u8>) {
        self.newest.set(change, text);
        self.register(json!({"text": text}), out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        let request = json!({"module": "internal", "requestId": "3"});
        self.connections[PUBLISHER].ask("HealthCheckRequest", &request, out);
    }

    fn next(
        &mut self,
        connection: usize,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard, usize)>> {
        let Some((came, len)) = first_frame(bytes)? else {
            return Ok(None);
        };
        let at = &mut self.connections[connection];
        let heard = match came.kind {
            HEADERS => at.on_headers(&came, out)?,
            DATA => at.on_data(&self.newest, &came, out)?,
            SETTINGS | PING if !came.has(ACK) => {
                let back = if came.kind == PING { came.payload } else { &[] };
                frame(came.kind, ACK, 0, back, out);
                Heard::Nothing
            }
            RESET | GO_AWAY => {
                return Err(invalid(format!(
                    "the server ended call {}: {:?}",
                    came.stream, came.payload
                )));
            }
            _ => Heard::Nothing,
        };
        Ok(Some((heard, len)))
    }
}

fn on_message(newest: &Newest, kind: &[u8], body: &[u8], out: &mut Vec<u8>) -> io::Result<Heard> {
    let said: Json = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
    match kind {
        b"NotifySubscriberRequest" => {
            answer("NotifySubscriberResponse", &said, out);
            let service = &said["serviceInfo"];
            let text = service["hosts"][0]["metadata"]["text"].as_str();
            let version = service["lastRefTime"].as_i64();
            Ok(match newest.heard(text.unwrap_or_default().as_bytes()) {
                Heard::Value(_) => version.map_or(Heard::Wrong, Heard::Value),
                other => other,
            })
        }
        b"ClientDetectionRequest" => {
            answer("ClientDetectionResponse", &said, out);
            Ok(Heard::Nothing)
        }
        _ if said["resultCode"] != 200 => Err(invalid(said.to_string())),
        b"SubscribeServiceResponse" => Ok(Heard::Ready(0)),
        b"HealthCheckResponse" => Ok(Heard::Pong),
        b"InstanceResponse" => Ok(Heard::Nothing),
        _ => Ok(Heard::Wrong),
    }
}

/// Appends the answer to what the server asked.
fn answer(kind: &str, asked: &Json, out: &mut Vec<u8>) {
    let answer = json!({"resultCode": 200, "errorCode": 0, "success": true, "requestId": asked["requestId"]});
    message(PUSHES, &payload(kind, &answer), false, out);
}

/// Metadata with the type in field 3, then a body with the JSON in field 2; they are fields 2 and 3 themselves.
fn payload(kind: &str, json: &Json) -> Vec<u8> {
    let (mut metadata, mut body, mut out) = (Vec::new(), Vec::new(), Vec::new());
    field(3, kind.as_bytes(), &mut metadata);
    field(2, json.to_string().as_bytes(), &mut body);
    field(2, &metadata, &mut out);
    field(3, &body, &mut out);
    out
}

/// The type and the JSON of a message.
fn fields_of(payload: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let metadata = find(2, payload)?;
    let body = find(3, payload)?;
    Ok((find(3, metadata)?, find(2, body)?))
}

/// Appends a field of bytes in the encoding of protocol buffers.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | BYTES);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(u8::try_from(len & 0x7f).expect("seven bits") | 0x80);
        len >>= 7;
    }
    out.push(u8::try_from(len).expect("seven bits"));
    out.extend_from_slice(bytes);
}

/// The kind of a field that has a length.
const BYTES: u8 = 2;

/// The first field of this number; nothing but fields of bytes is expected before it.
fn find(wanted: u8, mut message: &[u8]) -> io::Result<&[u8]> {
    while let Some((&tag, rest)) = message.split_first() {
        let mut len = 0;
        let mut digits = 0;
        for &byte in rest {
            len |= usize::from(byte & 0x7f) << (7 * digits).min(usize::BITS - 1);
            digits += 1;
            if byte < 0x80 {
                break;
            }
        }
        let start = digits as usize;
        let bytes = rest.get(start..start.saturating_add(len));
        let Some(bytes) = bytes.filter(|_| tag & 7 == BYTES) else {
            return Err(invalid("a message of another form"));
        };
        if tag >> 3 == wanted {
            return Ok(bytes);
        }
        message = &rest[start + len..];
    }
    Ok(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &str) -> Vec<u8> {
        let service = json!({"lastRefTime": 42, "hosts": [{"metadata": {"text": text}}]});
        let request = json!({"requestId": "9", "serviceInfo": service});
        let mut out = Vec::new();
        message(
            PUSHES,
            &payload("NotifySubscriberRequest", &request),
            false,
            &mut out,
        );
        out
    }

    #[test]
    fn a_push_in_several_frames_is_one_delivery_and_acknowledged() {
        let long = "x".repeat(20_000);
        let mut rnacos = Rnacos::default();
        rnacos.open(1, &mut Vec::new());
        rnacos.publish(7, &long, &mut Vec::new());
        let bytes = push(&long);
        let mut acknowledged = Vec::new();

        let (first, at) = rnacos
            .next(1, &bytes, &mut acknowledged)
            .expect("no fault")
            .expect("a whole frame");
        assert_eq!((first, acknowledged.len()), (Heard::Nothing, 0));
        let second = rnacos.next(1, &bytes[at..], &mut acknowledged);

        assert_eq!(
            second.expect("no fault"),
            Some((Heard::Value(42), bytes.len() - at))
        );
        let (frame, _) = first_frame(&acknowledged)
            .expect("no fault")
            .expect("an answer");
        let (answer, _) = first_message(frame.payload).expect("a message");
        assert_eq!(
            fields_of(answer).expect("no fault").0,
            b"NotifySubscriberResponse"
        );
    }

    #[test]
    fn nothing_is_asked_before_the_server_knows_the_connection() {
        let mut rnacos = Rnacos::default();
        let mut said = Vec::new();
        rnacos.greet(&mut said);
        let greeted = said.len();
        rnacos.ping(&mut said);
        assert_eq!(said.len(), greeted);

        let mut headers = Vec::new();
        frame(HEADERS, 0, PUSHES, &[], &mut headers);
        let heard = rnacos
            .next(PUBLISHER, &headers, &mut said)
            .expect("no fault");

        assert_eq!(heard, Some((Heard::Nothing, headers.len())));
        assert!(said.len() > greeted);
    }
}
