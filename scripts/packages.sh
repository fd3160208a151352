# The Debian packages that each job needs; `source` this file, then `need run` or `need test`. Debian 12 and 13.
# Installs only what is missing, without questions, as root or through sudo.

packages_run="build-essential cmake ninja-build pkg-config git ca-certificates python3
  libuv1-dev liburing-dev librocksdb-dev libisal-dev libxxhash-dev libssl-dev libexpat1-dev libjansson-dev
  libcurl4-openssl-dev libprotobuf-c-dev protobuf-c-compiler libinih-dev
  curl ffmpeg awscli"
packages_test="clang clang-format libclang-rt-dev libcriterion-dev
  rclone s3cmd restic python3-boto3 python3-jsonschema python3-venv chromium chromium-driver procps"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The name that this release of Debian gives to a package.
package_name() {
  case "$1" in
    libclang-rt-dev) for v in 19 14; do apt-cache show "libclang-rt-$v-dev" >/dev/null 2>&1 && echo "libclang-rt-$v-dev" && return; done; echo libclang-rt-14-dev ;;
    *) echo "$1" ;;
  esac
}

installed() {
  dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

need() {
  local list missing="" name refreshed=""
  case "$1" in
    run) list="$packages_run" ;;
    test) list="$packages_run $packages_test" ;;
  esac
  # llhttp: its own package from Debian 13 on, the C source inside node-llhttp on Debian 12.
  if ! installed libllhttp-dev && ! installed node-llhttp; then
    missing="llhttp"
  fi
  if [ "$1" = test ] && ! { command -v node && command -v npm; } >/dev/null 2>&1; then
    list="$list nodejs npm"
  fi
  for name in $list; do
    case "$name" in
      libclang-rt-dev) installed libclang-rt-14-dev || installed libclang-rt-19-dev || missing="$missing $name" ;;
      *) installed "$name" || missing="$missing $name" ;;
    esac
  done
  [ -n "$missing" ] || return 0
  echo "installing:$missing" | tr '\n' ' ' >&2
  echo >&2
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  local final=""
  for name in $missing; do
    if [ "$name" = llhttp ]; then
      if apt-cache show libllhttp-dev >/dev/null 2>&1; then name=libllhttp-dev; else name=node-llhttp; fi
    fi
    final="$final $(package_name "$name")"
  done
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $final >/dev/null
}
