#!/usr/bin/env bash
# SOFARegistry with meta, data and session in one process. It refuses loopback, so it gets a network of its own, with one address and its own
# ports whatever PORT says; the network ends with the process.
source "$(dirname "$0")/peer.bash"

NAME=sofaregistry VERSION=5.4.2 ADDRESS=10.99.0.1
LIB=$HERE/sofaregistry/target/lib
PACKAGES=(java.lang java.lang.reflect java.lang.invoke java.util java.util.concurrent java.util.concurrent.atomic java.io java.nio java.net
  java.math java.text java.time sun.nio.ch jdk.internal.misc)

present() {
  local tool
  for tool in java mvn unshare ip; do command -v "$tool" >/dev/null || return 1; done
}

verify() { (cd "$LIB" && sha256sum --check --quiet --strict "$HERE/sofaregistry/libs.sha256"); }

install() {
  if check 2>/dev/null; then return; fi
  if ! present && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update --quiet=2
    DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
      openjdk-17-jre-headless maven iproute2 </dev/null
  fi
  if ! present; then
    echo "$NAME: install Java 17, maven, unshare (util-linux) and ip (iproute2) first" >&2
    return 69
  fi
  # Maven has no lock file: what it fetched is compared with what was fetched when the figures were taken.
  (cd "$HERE/sofaregistry" && mvn --quiet --batch-mode package)
  verify
  check
}

check() {
  if ! [ -e "$LIB/registry-server-integration-$VERSION.jar" ] || ! command -v java >/dev/null; then
    missing
  elif [ "$(id -u)" -ne 0 ]; then
    missing "it needs a network of its own, which only root can make: run as root"
  else
    echo "$VERSION on Java $(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.runtime.version = //p')"
  fi
}

# The first call enters the new network and calls again from there.
start() {
  if [ "${NETWORK-}" != own ]; then NETWORK=own exec unshare --net "$0" start "$@"; fi
  ip link set lo up
  ip link add here type veth peer name there
  ip address add "$ADDRESS/24" dev here
  ip link set here up
  ip link set there up
  local folder=$2 options=() package
  for package in "${PACKAGES[@]}"; do options+=(--add-opens "java.base/$package=ALL-UNNAMED"); done
  # As shipped, except that a connected, idle publisher is not evicted after 20 s.
  sed 's/^\(data.server.datumTimeToLiveSec\)=.*/\1=900/' "$LIB/../application.properties" >"$folder/application.properties"
  exec java -Xms512m -Xmx512m "${options[@]}" -cp "$LIB/*" \
    -Dspring.config.location="$folder/application.properties" -Dregistry.integration.home="$folder" -Duser.home="$folder" \
    com.alipay.sofa.registry.server.integration.RegistryApplication
}

main "$@"
