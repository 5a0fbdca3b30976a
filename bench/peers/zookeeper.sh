#!/usr/bin/env bash
# ZooKeeper, one server: what is written is on disk before it is answered.
source "$(dirname "$0")/peer.bash"

NAME=zookeeper PACKAGE=zookeeper VERSION=3.8.0-11+deb12u2
UNITS=()

install() { install_package; }

check() { check_package; }

start() {
  local port=$1 folder=$2
  {
    echo "tickTime=2000"
    echo "dataDir=$folder"
    echo "clientPort=$port"
    echo "clientPortAddress=127.0.0.1"
    echo "maxClientCnxns=0"
    echo "clientPortListenBacklog=1024"
    # Sessions outlive the turns of the other servers without a ping.
    echo "maxSessionTimeout=3600000"
    echo "admin.enableServer=false"
  } >"$folder/zoo.cfg"
  JMXDISABLE=true exec /usr/share/zookeeper/bin/zkServer.sh start-foreground "$folder/zoo.cfg"
}

main "$@"
