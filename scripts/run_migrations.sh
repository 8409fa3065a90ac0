#!/usr/bin/env bash
# Bring the database of the DB_* settings up to date: with Flyway where it is installed, else
# with the built-in migrator. Both apply db/migration and write the same history.
#
#   scripts/run_migrations.sh [migrate | validate | info]
set -euo pipefail
cd "$(dirname "$0")/.."

command=${1:-migrate}
case $command in
    migrate | validate | info) ;;
    *)
        echo "$0: unknown command '$command'; use migrate, validate or info" >&2
        exit 2
        ;;
esac

# The environment comes before .env, as in the app. The file is read, never executed.
setting() {
    local name=$1 default=$2 value
    if [[ -n ${!name+set} ]]; then
        printf '%s' "${!name}"
        return
    fi
    value=$default
    if [[ -f .env ]]; then
        while IFS= read -r line || [[ -n $line ]]; do
            line=${line%$'\r'}
            if [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?$name[[:space:]]*=[[:space:]]*(.*)$ ]]; then
                value=${BASH_REMATCH[2]}
                case $value in
                    \"*\"*) value=${value#\"} value=${value%%\"*} ;;
                    \'*\'*) value=${value#\'} value=${value%%\'*} ;;
                    *) value=${value%%[[:space:]]#*} value=${value%"${value##*[![:space:]]}"} ;;
                esac
            fi
        done <.env
    fi
    printf '%s' "$value"
}

url_encode() {
    local LC_ALL=C text=$1 index character
    for ((index = 0; index < ${#text}; index++)); do
        character=${text:index:1}
        case $character in
            [a-zA-Z0-9._~-]) printf '%s' "$character" ;;
            *) printf '%%%02X' "'$character" ;;
        esac
    done
}

host=$(setting DB_HOST '')
# Without DB_HOST the app runs its own PostgreSQL, and a folder is a Unix socket: Flyway can
# reach neither.
if [[ -n $host && $host != /* ]] && command -v flyway >/dev/null; then
    [[ $host == *:* && $host != \[* ]] && host="[$host]"
    FLYWAY_URL="jdbc:postgresql://$host:$(setting DB_PORT 5432)/$(url_encode "$(setting DB_NAME goblin)")"
    FLYWAY_USER=$(setting DB_USER postgres)
    FLYWAY_PASSWORD=$(setting DB_PASSWORD postgres)
    export FLYWAY_URL FLYWAY_USER FLYWAY_PASSWORD
    exec flyway -configFiles=flyway.conf "$command"
fi

python=.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" -m app "$command"
