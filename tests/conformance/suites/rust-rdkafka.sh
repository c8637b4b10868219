# rust-rdkafka's integration tests (crate rdkafka, which builds a librdkafka of its own). They expect one node with number 0 and three partitions.
version=0.39.0
settings=(num.partitions=3 node.id=0)

prepare() {
  need cargo make || return
  dir=$(crate rdkafka $version) || { unavailable "crates.io is out of reach"; return; }
  # Addresses that are written in some tests: all come from KAFKA_HOST instead.
  sed -i 's/"bootstrap.servers", "localhost")/"bootstrap.servers", crate::utils::get_bootstrap_server())/' "$dir"/tests/test_*.rs
  sed -i 's/port(), 9092)/port(), crate::utils::get_bootstrap_server().rsplit(":").next().unwrap().parse::<i32>().unwrap())/' "$dir/tests/test_metadata.rs"
  (cd "$dir" && heavy cargo test --quiet --no-run) > "$work/logs/build" 2>&1
}

execute() {
  local file test
  for file in "$dir"/tests/test_*.rs; do
    test=$(basename "$file" .rs)
    (cd "$dir" && KAFKA_HOST=$bootstrap KAFKA_VERSION=4.1.0 heavy timeout -k 10 600 cargo test --quiet --test "$test" -- --test-threads=1 --format=pretty) \
      > "$work/logs/$test.out" 2> "$work/logs/$test.err"
    sed -nE "s/^test ([^ ]+) .*\.\.\. ok\$/pass $test::\1/p; s/^test ([^ ]+) .*\.\.\. FAILED\$/fail $test::\1/p; s/^test ([^ ]+) .*\.\.\. ignored.*/skip $test::\1/p" \
      <(sed 's/ \.\.\./  .../' "$work/logs/$test.out") >> "$results"
  done
}
