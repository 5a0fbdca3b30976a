//! What the three ports answer, compared with what SOFARegistry 5.4.2 and 6.6.3 were seen to answer.

mod clients;
mod data;
mod discovery;
mod health;
mod meta;
mod requests;
mod session;

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, StatusCode};
use rollcall_core::meta::{OffClient, Side};
use rollcall_core::names::CoreId;
use rollcall_core::query::Order;
use serde_json::{Value, json};

use super::fake::{self, CLIENT, FakeCore, FakeNode};
use super::*;

const SESSION: Role = Role::Session;
const META: Role = Role::Meta;
const DATA: Role = Role::Data;

const ECHO: &str = "com.example.golden.Echo%23%40%23DEFAULT_INSTANCE_ID%23%40%23DEFAULT_GROUP";

/// An answer as a client sees it.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn content_type(&self) -> &str {
        self.headers
            .get("content-type")
            .map_or("", |value| value.to_str().expect("text"))
    }

    fn is_ok(&self, content_type: &str, body: &str) -> bool {
        self.status == StatusCode::OK && self.content_type() == content_type && self.body == body
    }
}

/// A port as one client sees it.
struct Port {
    admin: Rc<Admin>,
    role: Role,
    peer: SocketAddr,
    local: SocketAddr,
    headers: HeaderMap,
}

impl Port {
    fn of(node: &Rc<FakeNode>, role: Role) -> Self {
        Self {
            admin: Admin::new(Rc::new(Rc::clone(node)), Access::default()),
            role,
            peer: at("127.0.0.1:40000"),
            local: at("127.0.0.1:9603"),
            headers: HeaderMap::new(),
        }
    }

    fn between(mut self, peer: &str, local: &str) -> Self {
        (self.peer, self.local) = (at(peer), at(local));
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers
            .insert(name, value.parse().expect("a header value"));
        self
    }

    fn get(&self, path: &str) -> Seen {
        self.send(Method::GET, path, "")
    }

    fn post(&self, path: &str, body: &str) -> Seen {
        self.send(Method::POST, path, body)
    }

    fn send(&self, method: Method, path: &str, body: &str) -> Seen {
        let mut request = hyper::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        let request = Request {
            head: request.into_parts().0,
            body: Bytes::from(body.to_owned()),
            peer: self.peer,
            local: self.local,
        };
        let door = Door {
            admin: Rc::clone(&self.admin),
            role: self.role,
        };
        let response = match door.admit(&request.head, self.peer) {
            Ok(admitted) => now(door.answer(admitted.known, request)),
            Err(refusal) => *refusal,
        };
        let (head, body) = response.into_parts();
        let body = now(body.collect()).expect("a whole body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Seen {
            status: head.status,
            headers: head.headers,
            body,
        }
    }
}

/// Runs what waits for nobody.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the fake node answers at once"),
    }
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn golden() -> Rc<FakeNode> {
    Rc::new(fake::golden())
}

fn empty() -> Rc<FakeNode> {
    Rc::new(fake::empty())
}
