#!/usr/bin/env bash
# etcd, one member: what is written is on disk before it is answered.
source "$(dirname "$0")/peer.bash"

NAME=etcd PACKAGE=etcd-server VERSION=3.4.23-4+b4
UNITS=(etcd)

install() { install_package; }

check() { check_package; }

start() {
  local clients="http://127.0.0.1:$1" members="http://127.0.0.1:0"
  exec etcd --data-dir "$2/etcd" --listen-client-urls "$clients" --advertise-client-urls "$clients" \
    --listen-peer-urls "$members" --initial-advertise-peer-urls "$members" --initial-cluster "default=$members"
}

main "$@"
