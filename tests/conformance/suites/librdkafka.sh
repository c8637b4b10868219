# librdkafka's own test runner, from the crate that carries its source: the tests that talk to a broker, each in a process of its own.
# Variants: librdkafka-848 (the tests with groups, group.protocol=consumer), librdkafka-noautocreate (topics are not made by asking for them).
version=4.10.0+2.12.1
# A test at most (seconds), and so many at a time: most of them wait.
TEST_SECONDS_MAX=240
AT_A_TIME=3
settings=(num.partitions=4 node.id=0)
case $suite in
  *-848)
    export TEST_CONSUMER_GROUP_PROTOCOL=consumer
    chosen='0018|0019|0026|0029|0030|0033|0045|0050|0051|0056|0081_admin/.*Group|0089|0091|0093|0098|0099|0102|0106|0112|0113|0118|0122|0127|0130|0132|0137|0140|0153';;
  *-noautocreate)
    export TEST_SCENARIO=noautocreate
    settings+=(auto.create.topics.enable=false)
    chosen='0045_subscribe_update_topic_remove|0045_subscribe_update_non_exist|0107|0111';;
  # Without: ACLs, TLS and SASL (not yet), three brokers with racks (0101), segments of 10 kB that Kafka refuses since 4.0 (0077).
  *) chosen='.'; without='Acls|0077|0097|0101|0109|0115|0119|0126|0135|0142';;
esac

prepare() {
  need gcc g++ make python3 java || return
  [ -e /usr/include/zstd.h ] && [ -d /usr/include/rapidjson ] && [ -e /usr/include/zlib.h ] || { unavailable "needs the headers of zlib, zstd and rapidjson (libzstd-dev zlib1g-dev rapidjson-dev)"; return; }
  scripts=$(kafka_scripts) || { unavailable "Maven is out of reach"; return; }
  local copy; copy=$(crate rdkafka-sys $version) || { unavailable "crates.io is out of reach"; return; }
  source=$copy/librdkafka
  [ ! -x "$source/tests/test-runner" ] || return 0
  # For one node of a release that knows no small segments: replicas as many as there are brokers, 1 MiB instead of 20 kB in 0129.
  sed -i 's/rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor,/rd_kafka_NewTopic_new(topicname, partition_cnt, RD_MIN(replication_factor, 1),/' "$source/tests/test.c"
  sed -i 's/"segment.bytes", "20000"/"segment.bytes", "1048576"/' "$source/tests/0129-fetch_aborted_msgs.c"
  (cd "$source" && heavy sh -c './configure --disable-ssl --disable-gssapi --disable-curl && make -j2 libs && make -C tests -j2 build') > "$work/logs/build" 2>&1
}

# Names of the tests with a broker, in their order. 0081 ends at its first failing part, so each part is a test here.
names() {
  python3 - "$source/tests" <<'P'
import re, sys
tests = open(sys.argv[1] + "/test.c").read()
admin = open(sys.argv[1] + "/0081-admin.c").read()
parts, calls = admin.split("static void do_test_apis", 1)
for name, flags in re.findall(r"^    _TEST\(\s*(\w+),\s*([A-Z_0-9 |\n]+?)[,)]", tests, re.M):
    if re.search("TEST_F_(LOCAL|MANUAL)", flags):
        continue
    if name != "0081_admin":
        print(name)
        continue
    for part in dict.fromkeys(re.findall(r"^(?:static void )?do_test_(\w+)\(", parts, re.M)):
        if re.search(r"^ +do_test_%s\(" % part, calls, re.M):
            print(f"{name}/{part}")
P
}

one_test() {
  local name=${1%/*} part= log=$work/logs/${1/\//-} how
  case $1 in */*) part=${1#*/}; export SUBTESTS=do_test_$part:;; esac
  (cd "$source/tests" && TESTS=$name TEST_REPORT=$log.json timeout -k 5 "$TEST_SECONDS_MAX" ./test-runner -p1 -L -Q) > "$log" 2>&1
  how=$(grep -o "\"name\": \"$name\", \"state\": \"[A-Z]*" "$log.json" 2>/dev/null | sed 's/.*"//')
  case $how in PASSED) how=pass;; SKIPPED) how=skip;; *) how=fail;; esac
  # The runner calls it passed too when the wanted part skipped itself or never ran.
  [ $how != pass ] || [ -z "$part" ] || grep -q "do_test_$part:.*: PASS (" "$log" || how=skip
  note $how "$1"
  say "$how $1"
}

execute() {
  printf 'bootstrap.servers=%s\ntest.topic.random=true\ntest.timeout.multiplier=2\n' "$bootstrap" > "$work/test.conf"
  make -s -C "$source/tests" java > "$work/logs/java" 2>&1
  export RDKAFKA_TEST_CONF=$work/test.conf BROKERS=$bootstrap KAFKA_PATH=$scripts TEST_KAFKA_VERSION=4.1.0 LD_LIBRARY_PATH=$source/src:$source/src-cpp
  export source TEST_SECONDS_MAX; export -f one_test note say
  names | grep -E "^(${CONFORMANCE_ONLY:-$chosen})" | grep -vE "${without:-^$}" | xargs -P $AT_A_TIME -I{} bash -c 'one_test {}'
}
