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
