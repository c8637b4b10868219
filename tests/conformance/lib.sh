# What all suites share: results, places, sources from package registries, one node of ours. Read by ./run.

# Sources and builds are kept here between runs; results too.
CONFORMANCE_DIR=${CONFORMANCE_DIR:-$repository/target/conformance}
# Release of Apache Kafka whose tools are used, and that the suites believe they talk to.
KAFKA_RELEASE=4.3.1
# How long a node may take until it listens (seconds).
START_SECONDS_MAX=60

say() { printf '%s\n' "$*"; }
# A suite that cannot run here says so on a line that CI counts, and ends with this status.
UNAVAILABLE=3
unavailable() { say "SKIPPED $suite: $*"; return $UNAVAILABLE; }

# note pass|fail|skip NAME: one line of the results. Several tests may end at the same time.
note() { flock "$results.lock" sh -c 'printf "%s %s\n" "$1" "$2" >> "$0"' "$results" "$1" "$2"; }

# heavy COMMAND...: one at a time where a machine is shared (CONFORMANCE_LOCK names the lock file).
heavy() { if [ -n "${CONFORMANCE_LOCK:-}" ]; then flock "$CONFORMANCE_LOCK" "$@"; else "$@"; fi; }

need() { local tool; for tool; do command -v "$tool" >/dev/null || { unavailable "no $tool"; return; }; done; }
need_java() {
  need java mvn || return
  local major; major=$(java -version 2>&1 | sed -n '1s/.*version "\([0-9]*\).*/\1/p')
  [ "${major:-0}" -ge 17 ] || unavailable "Kafka needs Java 17, found ${major:-none}"
}

# crate NAME VERSION: prints a writable copy of a crate's source, as crates.io has it.
crate() {
  local copy=$CONFORMANCE_DIR/crates/$1-$2 fetch
  if [ ! -e "$copy/.whole" ]; then
    fetch=$(mktemp -d)
    mkdir "$fetch/src" && : > "$fetch/src/lib.rs"
    printf '[package]\nname="fetch"\nversion="0.0.0"\nedition="2021"\n[workspace]\n[dependencies]\n%s="=%s"\n' "$1" "$2" > "$fetch/Cargo.toml"
    (cd "$fetch" && cargo fetch --quiet >&2) || { rm -rf "$fetch"; return 1; }
    rm -rf "$fetch" "$copy"; mkdir -p "$copy"
    cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$1-$2"/. "$copy" && chmod -R u+w "$copy" && touch "$copy/.whole" || return 1
  fi
  say "$copy"
}

# kafka_jars: prints the folder of Apache Kafka's jars, fetched once by Maven.
kafka_jars() {
  local jars=$CONFORMANCE_DIR/jars-$KAFKA_RELEASE
  if [ ! -d "$jars" ]; then
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars.part" >&2 || return 1
    mv "$jars.part" "$jars"
  fi
  say "$jars"
}

# kafka_scripts: prints a folder laid out as Kafka's own (bin, libs), for suites that call its scripts.
kafka_scripts() {
  local home=$CONFORMANCE_DIR/kafka-$KAFKA_RELEASE jars tool class
  jars=$(kafka_jars) || return
  mkdir -p "$home/bin" && ln -sfn "$jars" "$home/libs"
  printf '#!/bin/sh\nexec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile=%s -cp "%s/*${CLASSPATH:+:$CLASSPATH}" "$@"\n' \
    "$here/log4j2.properties" "$jars" > "$home/bin/kafka-run-class.sh"
  while read -r tool class; do
    printf '#!/bin/sh\nexec "%s/bin/kafka-run-class.sh" %s "$@"\n' "$home" "$class" > "$home/bin/$tool.sh"
  done <<'END'
kafka-topics org.apache.kafka.tools.TopicCommand
kafka-configs kafka.admin.ConfigCommand
kafka-acls org.apache.kafka.tools.AclCommand
kafka-consumer-groups org.apache.kafka.tools.consumer.group.ConsumerGroupCommand
kafka-console-producer org.apache.kafka.tools.ConsoleProducer
kafka-console-consumer org.apache.kafka.tools.consumer.ConsoleConsumer
END
  chmod +x "$home"/bin/*.sh
  say "$home"
}

# node_start SETTING...: starts one of our nodes on a port of its choice; sets $bootstrap, $node_data and $node_pid.
node_start() {
  local binary=${CAUSEWAY_BIN:-$repository/target/debug/causeway} setting options=()
  [ -x "$binary" ] || heavy cargo build --quiet --locked --manifest-path "$repository/Cargo.toml" --bin causeway || return
  node_data=$work/node; rm -rf "$node_data"
  for setting in listeners=PLAINTEXT://127.0.0.1:"${CONFORMANCE_PORT:-0}" log.dirs="$node_data" group.initial.rebalance.delay.ms=0 "$@"; do options+=(--override "$setting"); done
  # The node ends with its standard input, which this shell holds open: it never outlives us.
  mkfifo "$work/stdin" && : > "$work/node.log" || return
  "$binary" broker --exit-with-stdin "${options[@]}" < "$work/stdin" > "$work/node.log" 2>&1 &
  node_pid=$!
  exec {node_stdin}> "$work/stdin"
  local until=$((SECONDS + START_SECONDS_MAX))
  until bootstrap=$(sed -n 's/.*broker started listener=\([^ ]*\).*/\1/p' "$work/node.log") && [ -n "$bootstrap" ]; do
    kill -0 "$node_pid" 2>/dev/null && [ $SECONDS -lt $until ] || { say "the node did not start:"; tail -5 "$work/node.log"; return 1; }
    sleep 0.05
  done
}
# A node that died or panicked meanwhile is a failure of its own, whatever the suite says.
node_stop() {
  [ -n "${node_pid:-}" ] || return 0
  kill -0 "$node_pid" 2>/dev/null || note fail "node:died"
  exec {node_stdin}>&-
  wait "$node_pid" || note fail "node:exit"
  ! grep -q 'panicked at' "$work/node.log" || note fail "node:panicked"
  note pass "node:ends-well"; node_pid=
}

# java_compile: our own programs in apps/, against Kafka's jars.
java_compile() { mkdir -p "$CONFORMANCE_DIR/apps" && heavy javac -nowarn -cp "$jars/*" -d "$CONFORMANCE_DIR/apps" "$here"/apps/*.java > "$work/logs/javac" 2>&1; }
# app CLASS ARGUMENT...: runs one of them, or of Kafka's.
app() { java -Xmx400m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$CONFORMANCE_DIR/apps:$jars/*" "$@"; }
# app_start LOG CLASS ARGUMENT...: the same in the background; sets $app_pid to the JVM, not to a shell around it.
app_start() {
  local to=$work/logs/$1; shift
  java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$CONFORMANCE_DIR/apps:$jars/*" "$@" > "$to" 2>&1 &
  app_pid=$!
}
app_stop() { kill "${1:--TERM}" "$app_pid" 2>/dev/null; wait "$app_pid" 2>/dev/null; }
# passes NAME COMMAND...: a test that is one command.
passes() {
  local name=$1; shift
  if "$@" > "$work/logs/$name" 2>&1; then note pass "$name"; else note fail "$name"; fi
  tail -n 3 "$work/logs/$name"
}
# says LOG TEXT SECONDS: waits until a log holds a text.
says() { local i; for i in $(seq $(($3 * 10))); do grep -q "$2" "$work/logs/$1" 2>/dev/null && return; sleep 0.1; done; return 1; }
