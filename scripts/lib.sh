# Shared by the scripts of this folder: what they need is installed if it is missing. Sourced, not run.

# Installs the Debian packages whose command is missing: `need COMMAND PACKAGE` …
need() {
  local missing=()
  while [ $# -gt 0 ]; do
    command -v "$1" >/dev/null 2>&1 || [ -e "$1" ] || missing+=("$2")
    shift 2
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing ${missing[*]}" >&2
  if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root: run it as root, or install ${missing[*]} yourself" >&2
    return 1
  fi
  # One at a time: apt-get does not wait for another one that updates its lists.
  flock "${TMPDIR:-/tmp}/usher-apt.lock" sh -c \
    'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >/dev/null' apt "${missing[@]}"
}

need_rust() {
  command -v cargo >/dev/null 2>&1 && return 0
  [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH" && return 0
  echo "Rust is missing: install it from https://rustup.rs and run this again" >&2
  return 1
}

# Where cargo puts what it builds.
target_dir() {
  cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

host_target() {
  rustc -vV | sed -n 's/^host: //p'
}
