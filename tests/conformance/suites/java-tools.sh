# Apache Kafka's own command line tools, all in one JVM: tools/cases.txt says what each must see. Variant java-tools-quick: the cases that CI has time for.
settings=(num.partitions=1)
[ "$suite" != java-tools-quick ] || : "${CONFORMANCE_ONLY:=^(topics|configs|console|groups|offsets|cluster)}"

prepare() {
  need_java || return
  jars=$(kafka_jars) || { unavailable "Maven is out of reach"; return; }
  mkdir -p "$CONFORMANCE_DIR/tools" && heavy javac -nowarn -cp "$jars/*" -d "$CONFORMANCE_DIR/tools" "$here/tools/Tools.java" > "$work/logs/javac" 2>&1
}

execute() {
  timeout -k 10 900 java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile="$here/log4j2.properties" -Dlog4j2.level=warn \
    -cp "$CONFORMANCE_DIR/tools:$jars/*" Tools "$bootstrap" "$here/tools/cases.txt" "$work/cases" "$work/logs/tools" "${CONFORMANCE_ONLY:-.}" ${node_data:+"$node_data"} \
    > "$work/logs/java" 2>&1
  # Names with spaces: a word of each result line.
  sed 's/ /-/g; s/^\(pass\|fail\|skip\)-/\1 /' "$work/cases" >> "$results"
}
