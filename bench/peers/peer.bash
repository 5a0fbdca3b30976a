# What the scripts of all peers share. Each says NAME and defines `install`, `check` and `start PORT FOLDER`, then calls `main "$@"`.
#
# `check` prints the version that is installed, or says on stderr why there is none. `start` becomes the server, in the foreground: whoever
# starts it owns the server's process.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

main() {
  case "${1-} $#" in
    "install 1" | "check 1" | "start 3") "$@" ;;
    *)
      echo "usage: $0 install | check | start PORT FOLDER" >&2
      return 64
      ;;
  esac
}

missing() {
  echo "missing: ${1:-run bench/peers/setup $NAME}" >&2
  return 1
}

# For peers from Debian: installs PACKAGE, in exactly VERSION where that is still to be had, in what replaced it otherwise. The services that
# come with it neither start nor are enabled; one that was there before is left alone.
install_package() {
  if check 2>/dev/null; then return; fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$NAME: installing $PACKAGE $VERSION needs root and apt-get" >&2
    return 69
  fi
  apt-get update --quiet=2
  local wanted="$PACKAGE=$VERSION"
  if ! apt-cache show "$wanted" >/dev/null 2>&1; then wanted=$PACKAGE; fi
  forbid_services
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "$wanted" </dev/null
  local unit
  for unit in "${UNITS[@]}"; do
    # It asks to be called as a package's own script would.
    DPKG_MAINTSCRIPT_PACKAGE=$PACKAGE deb-systemd-helper disable "$unit.service" >/dev/null
    if [ -e "/etc/init.d/$unit" ]; then update-rc.d "$unit" disable; fi
  done
  check
}

# No package may start a service until this script ends.
forbid_services() {
  POLICY=/usr/sbin/policy-rc.d
  KEPT=$(mktemp -d)
  if [ -e "$POLICY" ]; then mv "$POLICY" "$KEPT/"; fi
  trap 'rm -f "$POLICY"; mv "$KEPT"/policy-rc.d "$POLICY" 2>/dev/null; rm -rf "$KEPT"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}

# For peers from Debian: the version of PACKAGE. Another revision or a point release is fine, and told; another release would be another server.
check_package() {
  local found upstream pinned
  found=$(dpkg-query --show --showformat '${db:Status-Abbrev}${Version}' "$PACKAGE" 2>/dev/null) || found=
  if [ "${found:0:2}" != ii ]; then
    missing
    return
  fi
  found=${found#ii }
  upstream=${found#*:} pinned=${VERSION#*:}
  upstream=${upstream%-*} pinned=${pinned%-*}
  if [ "${upstream%.*}" != "${pinned%.*}" ]; then
    missing "$PACKAGE $found is installed; it is measured as $VERSION"
    return
  fi
  echo "$found"
}
