//! The content of a response whose status says that the server failed.
//!
//! Fields on the wire: `detailMessage`, `cause` (itself, which means none), `stackTrace` (an empty list that names its
//! type: without the name a Java client on a closed JDK fails).

use std::fmt::Display;

use crate::bolt::{Frame, Head, Kind, Status};
use crate::hessian::{Writer, definition, definition_len};

/// Name of the class.
pub const CLASS: &str = "com.alipay.remoting.rpc.exception.RpcServerException";

const FIELDS: &[&str] = &["detailMessage", "cause", "stackTrace"];
const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);
const STACK_TRACE_TYPE: &str = "[java.lang.StackTraceElement";

/// Appends the content as both known versions of the Java library take it.
pub fn encode(out: &mut Vec<u8>, message: &str) {
    let mut writer = Writer::new(out);
    writer.raw(&DEFINITION);
    writer.object(0);
    writer.text(message);
    writer.reference(0);
    writer.typed_list(STACK_TRACE_TYPE, 0);
    writer.end();
}

/// Appends the whole response to a request that could not be answered; nothing to a one-way request.
pub fn write_response(
    out: &mut Vec<u8>,
    request: &Frame<'_>,
    status: Status,
    message: &dyn Display,
) {
    if matches!(request.kind, Kind::OneWay { .. }) {
        return;
    }
    // The content is Hessian, whatever the codec of the request.
    let head = Head {
        codec: crate::bolt::CODEC_HESSIAN,
        ..Head::answer(request, status, CLASS)
    };
    head.write(out, |out| encode(out, &message.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bolt::{Decoded, decode};
    use crate::hessian::Value;

    #[test]
    fn the_content_is_an_object_that_is_its_own_cause() {
        let mut out = Vec::new();

        encode(&mut out, "it failed");

        let Ok(Value::Object { class, fields }) = Value::decode(&out) else {
            panic!("no object")
        };
        assert_eq!(class.name(), CLASS.as_bytes());
        assert!(matches!(&fields[0], Value::Text(text) if text.to_str().unwrap() == "it failed"));
        assert!(matches!(fields[1], Value::Reference(0)));
        assert!(
            matches!(&fields[2], Value::List { type_name: Some(_), items } if items.is_empty())
        );
    }

    #[test]
    fn a_one_way_request_gets_no_answer() {
        let request = b"\x01\x02\x00\x01\x01\x00\x00\x00\x09\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        let Ok(Decoded::Frame { frame, .. }) = decode(request) else {
            panic!("no frame")
        };
        let mut out = Vec::new();

        write_response(&mut out, &frame, Status::ServerException, &"it failed");

        assert_eq!(out, []);
    }
}
