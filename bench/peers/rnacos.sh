#!/usr/bin/env bash
# r-nacos, one node: the naming service of Nacos in Rust, built from crates.io.
source "$(dirname "$0")/peer.bash"

NAME=rnacos VERSION=0.8.8
PROGRAM=$HERE/rnacos/target/bin/rnacos

install() {
  if check 2>/dev/null; then return; fi
  if ! command -v cargo >/dev/null; then
    echo "$NAME: needs cargo: install Rust with rustup" >&2
    return 69
  fi
  # One job: whatever else runs here goes on.
  cargo install --locked --jobs 1 --version "$VERSION" --root "$HERE/rnacos/target" "$NAME"
  check
}

check() {
  if [ -x "$PROGRAM" ]; then echo "$VERSION"; else missing; fi
}

start() {
  export RNACOS_SDK_HOST=127.0.0.1 RNACOS_GRPC_PORT=$1 RNACOS_DATA_DIR=$2
  # Its HTTP port is any that is free, its console off.
  export RNACOS_HTTP_PORT=0 RNACOS_HTTP_CONSOLE_PORT=0 RNACOS_RAFT_NODE_ADDR=127.0.0.1:$1
  # Idle clients are not asked for a sign of life while the other servers have their turns.
  export RNACOS_GRPC_DETECTION_TIMEOUT_SECOND=3600
  exec "$PROGRAM"
}

main "$@"
