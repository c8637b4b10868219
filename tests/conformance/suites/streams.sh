# Kafka Streams with exactly_once_v2: a word count over a repartition and a changelog topic, killed twice in the middle; the counts must be exact.
settings=(num.partitions=2)
LINES=6000

prepare() {
  need_java || return
  jars=$(kafka_jars) || { unavailable "Maven is out of reach"; return; }
  java_compile
}

# counting NAME: starts the count in the background; it goes on from the state of the last.
counting() { app_start "$1" WordCount run "$bootstrap" "$work/state"; }

execute() {
  local third=$((LINES / 3))
  app Mirror topic "$bootstrap" words-in 4 && app Mirror topic "$bootstrap" words-out 2 && app WordCount feed "$bootstrap" 0 $third || return
  counting first
  passes word-count:starts says first 'state RUNNING' 60
  sleep 2
  app WordCount feed "$bootstrap" $third $((2 * third))
  app_stop -KILL
  counting second
  passes word-count:starts-again says second 'state RUNNING' 60
  sleep 1
  app_stop -KILL
  app WordCount feed "$bootstrap" $((2 * third)) $LINES
  counting third
  passes word-count:exactly-once-over-two-kills app WordCount check "$bootstrap" $LINES 120
  app_stop
  passes word-count:nothing-uncaught sh -c '! grep "^uncaught" "$0"/first "$0"/second "$0"/third' "$work/logs"
}
