# MirrorMaker 2 between two of our nodes, then from ours to a real Kafka node and back: records, headers, topic settings and group positions.
settings=(num.partitions=1)
RECORDS=3000

prepare() {
  need_java || return
  jars=$(kafka_jars) || { unavailable "Maven is out of reach"; return; }
  java_compile
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# real_start: one KRaft node; sets $real.
real_start() {
  local port=$(free_port) controller=$(free_port)
  printf '%s\n' node.id=1 process.roles=broker,controller "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" \
    "advertised.listeners=PLAINTEXT://127.0.0.1:$port" controller.listener.names=CONTROLLER "controller.quorum.voters=1@127.0.0.1:$controller" \
    "log.dirs=$work/real" offsets.topic.replication.factor=1 offsets.topic.num.partitions=4 transaction.state.log.replication.factor=1 \
    transaction.state.log.min.isr=1 share.coordinator.state.topic.replication.factor=1 share.coordinator.state.topic.min.isr=1 \
    group.initial.rebalance.delay.ms=0 > "$work/real.properties"
  app kafka.tools.StorageTool format -t conformanceconformance -c "$work/real.properties" > "$work/logs/format" 2>&1 || return
  app_start real kafka.Kafka "$work/real.properties"; real_pid=$app_pid; real=127.0.0.1:$port
  local i; for i in $(seq 600); do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null && return; sleep 0.1; done; return 1
}

# mirror NAME FROM TO: copies `$name` from one cluster to the other, with a group that stands in it.
mirror() {
  local name=$1 from=$2 to=$3
  printf '%s\n' clusters=a,b "a.bootstrap.servers=$from" "b.bootstrap.servers=$to" a-\>b.enabled=true b-\>a.enabled=false "a->b.topics=$name" \
    "a->b.groups=$name-group" replication.factor=1 checkpoints.topic.replication.factor=1 heartbeats.topic.replication.factor=1 \
    offset-syncs.topic.replication.factor=1 offset.storage.replication.factor=1 status.storage.replication.factor=1 config.storage.replication.factor=1 \
    sync.group.offsets.enabled=true sync.group.offsets.interval.seconds=2 emit.checkpoints.interval.seconds=2 refresh.topics.interval.seconds=3 \
    refresh.groups.interval.seconds=3 offset.flush.interval.ms=1000 dedicated.mode.enable.internal.rest=false > "$work/$name.properties"
  app Mirror topic "$from" "$name" 3 && app Mirror feed "$from" "$name" $RECORDS && app Mirror commit "$from" "$name-group" "$name" 500 || return
  app_start "$name" org.apache.kafka.connect.mirror.MirrorMaker "$work/$name.properties"
  local mirror_pid=$app_pid
  passes "mirrormaker:$name-records" app Mirror check "$to" "a.$name" $RECORDS 120
  passes "mirrormaker:$name-group" app Mirror group "$to" "$name-group" "a.$name" 60
  app_pid=$mirror_pid; app_stop -KILL
}

execute() {
  local first=$bootstrap first_pid=$node_pid first_in=${node_stdin:-} first_work=$work
  work=$first_work/second; mkdir -p "$work"; node_start "${settings[@]}" || return
  local second=$bootstrap second_in=$node_stdin second_pid=$node_pid
  work=$first_work
  mirror ours-to-ours "$first" "$second"
  if real_start; then
    mirror ours-to-real "$first" "$real"
    mirror real-to-ours "$real" "$second"
    app_pid=$real_pid; app_stop -KILL
  else
    note fail mirrormaker:real-node-starts
  fi
  exec {second_in}>&-; wait "$second_pid"
  bootstrap=$first node_pid=$first_pid node_stdin=$first_in node_data=$work/node
}
