#!/usr/bin/env bash
# Redis as its users run it for messages: nothing goes to disk.
source "$(dirname "$0")/peer.bash"

NAME=redis PACKAGE=redis-server VERSION=5:7.0.15-1~deb12u10
UNITS=(redis-server)

install() { install_package; }

check() { check_package; }

start() {
  # Its protection knows 127.0.0.1 only; clients come from other loopback addresses, and no others can.
  exec redis-server --protected-mode no --bind 127.0.0.1 --port "$1" --dir "$2" --save "" --appendonly no
}

main "$@"
