# Kafka Connect: a standalone worker with the file connectors, then a distributed one, which keeps its own state in three compacted topics of ours.
settings=(num.partitions=1)
LINES=500

prepare() {
  need_java || return
  jars=$(kafka_jars) || { unavailable "Maven is out of reach"; return; }
  java_compile
}

# connector KIND TOPIC FILE: a connector's settings, one a line.
connector() {
  printf 'name=%s-%s\nconnector.class=org.apache.kafka.connect.file.FileStream%sConnector\ntasks.max=1\nfile=%s\n' "$2" "$1" "$1" "$3"
  if [ "$1" = Source ]; then echo "topic=$2"; else echo "topics=$2"; fi
}
worker() {
  printf 'bootstrap.servers=%s\nkey.converter=org.apache.kafka.connect.storage.StringConverter\nvalue.converter=org.apache.kafka.connect.storage.StringConverter\n' "$bootstrap"
  printf 'offset.flush.interval.ms=500\nplugin.discovery=only_scan\nplugin.path=%s\nlisteners=http://127.0.0.1:%s\n' "$work/plugins" "$rest"
}
arrived() { local i; for i in $(seq 600); do cmp -s "$1" "$2" && return; sleep 0.1; done; wc -l "$1" "$2"; return 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
json() { python3 -c 'import json, sys; d = dict(l.strip().split("=", 1) for l in sys.stdin); print(json.dumps({"name": d.pop("name"), "config": d}))'; }
post() { local i; for i in $(seq 300); do connector "$@" | json | curl -sf -X POST -H 'Content-Type: application/json' -d @- "http://127.0.0.1:$rest/connectors" && return; sleep 0.2; done; return 1; }

execute() {
  local rest; rest=$(free_port); mkdir -p "$work/plugins"; ln -sf "$jars"/connect-file-*.jar "$work/plugins/"
  seq $LINES > "$work/in"
  worker > "$work/standalone.properties"; echo "offset.storage.file.filename=$work/offsets" >> "$work/standalone.properties"
  connector Source alone "$work/in" > "$work/source.properties"; connector Sink alone "$work/out" > "$work/sink.properties"
  app_start standalone org.apache.kafka.connect.cli.ConnectStandalone "$work/standalone.properties" "$work/source.properties" "$work/sink.properties"
  passes connect:standalone-copies-a-file arrived "$work/in" "$work/out"
  app_stop
  seq $LINES > "$work/in2"
  worker > "$work/distributed.properties"
  echo group.id=workers >> "$work/distributed.properties"
  local kind; for kind in config offset status; do printf '%s.storage.topic=connect-%s\n%s.storage.replication.factor=1\n' $kind $kind $kind >> "$work/distributed.properties"; done
  app_start distributed org.apache.kafka.connect.cli.ConnectDistributed "$work/distributed.properties"
  passes connect:distributed-takes-a-source post Source spread "$work/in2"
  passes connect:distributed-takes-a-sink post Sink spread "$work/out2"
  passes connect:distributed-copies-a-file arrived "$work/in2" "$work/out2"
  app_stop -KILL
  seq $LINES $((2 * LINES)) >> "$work/in2"
  app_start distributed-again org.apache.kafka.connect.cli.ConnectDistributed "$work/distributed.properties"
  # After a kill the sink may write again what it had not yet committed: every line is there, in the order of first arrival.
  passes connect:distributed-goes-on-after-a-kill arrived_once "$work/in2" "$work/out2"
  app_stop
}
arrived_once() { local i; for i in $(seq 900); do awk '!seen[$0]++' "$2" > "$2.once"; awk '!seen[$0]++' "$1" | cmp -s - "$2.once" && return; sleep 0.1; done; wc -l "$1" "$2"; return 1; }
