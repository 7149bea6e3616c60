#!/usr/bin/env bash
# Makes this machine the head of a fleet, or a node of one. As root, from a checkout of Velodrome:
#
#     deploy/on-prem/join.sh head [PORT]
#     deploy/on-prem/join.sh node HEAD[:PORT] [KEY=VALUE ...]
#
# KEY=VALUE are labels of this node, which sweeps may ask for; `velodrome` is the host's name unless
# given. With DESTDIR the files are only written, below that folder, and nothing is installed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CHECKOUT=$(cd "$HERE/../.." && pwd)
DESTDIR=${DESTDIR:-}
SETTINGS=$DESTDIR/etc/velodrome
UNITS=$DESTDIR/etc/systemd/system
LABEL='^([A-Za-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?=[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$'

refuse() {
  echo "join.sh: $1. $2" >&2
  exit 2
}

require_port() {
  [[ $1 =~ ^[0-9]{1,5}$ ]] || refuse "'$1' is no port" "Give a number, like 6379."
}

write_labels() { # every value in quotes: YAML would take 3 for a number
  local label
  for label in "$@"; do
    [[ $label =~ $LABEL ]] || refuse "'$label' is no label" "Write it like pool=lab."
    printf '%s: "%s"\n' "${label%%=*}" "${label#*=}"
  done
  [[ " $*" == *" velodrome="* ]] || printf 'velodrome: "%s"\n' "$(hostname -s)"
}

write_settings() { # HEAD PORT LABEL ...
  local labels
  labels=$(write_labels "${@:3}")
  mkdir -p "$SETTINGS" "$UNITS"
  install -m 644 "$HERE/ray.env" "$SETTINGS/ray.env"
  printf 'VELODROME_HEAD=%s\nVELODROME_PORT=%s\n' "$1" "$2" >"$SETTINGS/fleet.env"
  printf '%s\n' "$labels" >"$SETTINGS/labels.yaml"
  install -m 644 "$HERE/velodrome-$ROLE.service" "$UNITS/velodrome-$ROLE.service"
}

make_token() {
  [[ -s $SETTINGS/auth_token ]] && return
  (umask 077 && mkdir -p "$SETTINGS" && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$SETTINGS/auth_token")
}

require_token() {
  [[ -s $SETTINGS/auth_token ]] || refuse "$SETTINGS/auth_token is missing" "Copy it from the head."
}

install_velodrome() { # the same Python on all machines of a fleet: Ray insists on it
  local home=/var/lib/velodrome
  id velodrome >/dev/null 2>&1 ||
    useradd --system --create-home --home-dir "$home" --shell /bin/bash velodrome
  chmod 700 "$home"
  test -x "$home/venv/bin/python" || "${PYTHON:-python3}" -m venv "$home/venv"
  "$home/venv/bin/pip" install --quiet --require-hashes \
    -r "$CHECKOUT/requirements/run.txt" -r "$CHECKOUT/requirements/jobs.txt"
  "$home/venv/bin/pip" install --quiet --no-deps "$CHECKOUT"
  chown -R velodrome: "$home"
  chown velodrome: "$SETTINGS/auth_token"
  chmod 600 "$SETTINGS/auth_token"
}

start() {
  systemctl daemon-reload
  systemctl enable "velodrome-$ROLE.service"
  systemctl restart "velodrome-$ROLE.service"
}

ROLE=${1:-}
case $ROLE in
  head)
    require_port "${2:-6379}"
    make_token
    write_settings "$(hostname)" "${2:-6379}" velodrome=head
    ;;
  node)
    HEAD=${2:-}
    [[ $HEAD =~ ^[A-Za-z0-9.-]+(:[0-9]+)?$ ]] ||
      refuse "'$HEAD' is no address of a head" "Write HOST or HOST:PORT."
    PORT=6379
    [[ $HEAD == *:* ]] && PORT=${HEAD##*:}
    require_port "$PORT"
    require_token
    write_settings "${HEAD%%:*}" "$PORT" "${@:3}"
    ;;
  *) refuse "'$ROLE' is no role" "Say head or node." ;;
esac
[[ -n $DESTDIR ]] && exit
install_velodrome
start
