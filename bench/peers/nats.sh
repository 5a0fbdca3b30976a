#!/usr/bin/env bash
# NATS without JetStream: messages are delivered and forgotten.
source "$(dirname "$0")/peer.bash"

NAME=nats PACKAGE=nats-server VERSION=2.9.10-1+b3
UNITS=(nats-server)

install() { install_package; }

check() { check_package; }

start() {
  exec nats-server --addr 127.0.0.1 --port "$1"
}

main "$@"
