#!/usr/bin/env bash
# Builds the Nuclio function and starts it beside CVAT. Exit codes: 0 done, 2 something is missing or was asked wrongly,
# else what docker or nuctl said.
set -euo pipefail

usage='usage: serverless/deploy.sh gpu|cpu [--dry-run] [--network NAME] [--base-image IMAGE] [--stage DIR]

  gpu, cpu            which twin: function.yaml or serverless/function-cpu.yaml
  --dry-run           check, put the files together and print the commands, but change nothing
  --network NAME      the docker network that CVAT runs in (default: cvat_cvat)
  --base-image IMAGE  build on another image that has Python 3.11
  --stage DIR         only put the files together, in a new or empty folder; needs neither docker nor nuctl'

function=pth-perclip
project=cvat
oldest_nuctl=1.13.0 # the first that knows `numWorkers`; older ones silently start one worker
packages=(torch numpy pillow opencv-python-headless safetensors tqdm)
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
twin='' dry_run='' network=cvat_cvat base_image='' stage=''

fail() {
  printf 'perclip: error: %s\n' "$1" >&2
  exit 2
}

read_arguments() {
  while (($#)); do
    case "$1" in
      gpu | cpu) twin="$1" ;;
      --dry-run) dry_run=yes ;;
      --network | --base-image | --stage)
        [[ -n "${2:-}" ]] || fail "$1 needs a value: see serverless/deploy.sh --help"
        case "$1" in
          --network) network="$2" ;;
          --base-image) base_image="$2" ;;
          --stage) stage="$2" ;;
        esac
        shift
        ;;
      -h | --help)
        printf '%s\n' "$usage"
        exit 0
        ;;
      *) fail "no such argument: $1. See serverless/deploy.sh --help" ;;
    esac
    shift
  done
  [[ -n "$twin" ]] || fail 'say which twin, gpu or cpu: see serverless/deploy.sh --help'
}

# One line for each thing that is missing, with what to do about it.
missing() {
  local docker_info
  if ! command -v docker >/dev/null; then
    echo 'docker is not installed: install Docker Engine, on the machine that runs CVAT'
  elif ! docker_info="$(docker info 2>/dev/null)"; then
    echo 'docker does not answer: start it, or add your user to the group "docker" and log in again'
  else
    docker network inspect "$network" >/dev/null 2>&1 ||
      echo "there is no docker network $network: start CVAT first, or name its network (docker network ls) with --network"
    # Either docker knows the GPUs itself (a runtime or CDI devices), or the toolkit's hook lies on this machine.
    if [[ "$twin" == gpu && "$docker_info" != *nvidia* ]] && ! command -v nvidia-container-runtime-hook >/dev/null; then
      echo 'docker has no NVIDIA runtime: install the NVIDIA Container Toolkit, configure docker for it and restart docker; or deploy cpu'
    fi
  fi
  if ! command -v nuctl >/dev/null; then
    echo "nuctl is not installed: take the release with the version of CVAT's Nuclio (docker ps shows it)"
  else
    local version
    version="$(nuctl version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1 || true)"
    if [[ -n "$version" && "$(printf '%s\n' "$oldest_nuctl" "$version" | sort -V | head -n 1)" != "$oldest_nuctl" ]]; then
      echo "nuctl is $version: Perclip needs $oldest_nuctl or newer, in nuctl and in CVAT's Nuclio"
    fi
  fi
}

# What the function needs and no more: Nuclio copies the whole folder into the image. It cannot copy links to folders,
# and a link to a file outside would lead nowhere there: what links lead to is copied.
stage_into() {
  local target="$1" package
  cp -RL "$root/model" "$root/serverless" "$root/LICENSE" "$target/"
  mkdir "$target/plugin"
  cp -L "$root/plugin/__init__.py" "$target/plugin/"
  cp -RL "$root/plugin/shapes" "$target/plugin/"
  rm -f "$target"/serverless/*.{sh,md,yaml}
  find "$target" -name __pycache__ -prune -exec rm -rf {} +
  if [[ "$twin" == gpu ]]; then
    cp "$root/function.yaml" "$target/function.yaml"
  else
    cp "$root/serverless/function-cpu.yaml" "$target/function.yaml"
  fi
  for package in "${packages[@]}"; do
    grep -E "^$package==" "$root/requirements.txt" || fail "requirements.txt does not pin $package"
  done >"$target/requirements.txt"
  # In the image the files belong to root; the function may run as somebody else.
  chmod -R a+rX "$target"
}

run() {
  local word
  printf '+'
  for word in "$@"; do
    # Quoted where the shell would need it, so that a line can be copied.
    if [[ "$word" == *[!A-Za-z0-9_./:=-]* ]]; then printf " '%s'" "$word"; else printf ' %s' "$word"; fi
  done
  printf '\n'
  [[ -n "$dry_run" ]] || "$@"
}

read_arguments "$@"

if [[ -n "$stage" ]]; then
  mkdir -p "$stage" || exit 2
  [[ -z "$(ls -A "$stage")" ]] || fail "$stage is not empty: give a new or empty folder"
  stage_into "$stage"
  echo "The function's files are in $stage"
  exit 0
fi

lacks="$(missing)"
if [[ -n "$lacks" ]]; then
  while IFS= read -r line; do printf 'perclip: error: %s\n' "$line"; done <<<"$lacks" >&2
  exit 2
fi

stage="$(mktemp -d "${TMPDIR:-/tmp}/perclip-function-XXXXXX")"
if [[ -n "$dry_run" ]]; then
  echo "A dry run. The function's files stay in $stage"
else
  trap 'rm -rf "$stage"' EXIT
fi
stage_into "$stage"

known="$(nuctl get project "$project" --platform local 2>/dev/null || true)"
if [[ ! "$known" =~ \|[[:space:]]*"$project"[[:space:]]*(\||$) ]]; then
  run nuctl create project "$project" --platform local
fi
deploy=(nuctl deploy --project-name "$project" --path "$stage" --file "$stage/function.yaml" --platform local
  --platform-config "{\"attributes\": {\"network\": \"$network\"}}")
[[ -z "$base_image" ]] || deploy+=(--base-image "$base_image")
run "${deploy[@]}"

[[ -z "$dry_run" ]] || exit 0
cat <<END
Perclip runs. To check:
  nuctl get function $function --platform local      STATE is "ready"
  docker logs \$(docker ps -q --filter name=$function)
In CVAT the page "Models" lists Perclip.
END
