# kafka-python's integration tests, from its source package on PyPI.
version=3.0.12
dir=$CONFORMANCE_DIR/python-$version
settings=(node.id=0 num.partitions=4 group.min.session.timeout.ms=1000)

prepare() {
  need python3 || return
  [ ! -e "$dir/.whole" ] || return 0
  python3 -c 'import venv, ensurepip' 2>/dev/null || { unavailable "python3 without venv"; return; }
  rm -rf "$dir"; mkdir -p "$dir/src" "$work/logs"
  {
    python3 -m venv "$dir/venv" &&
      "$dir/venv/bin/pip" install -q pytest==8.4.2 pytest-timeout==2.4.0 pytest-mock==3.15.1 py setuptools lz4 python-snappy zstandard crc32c &&
      "$dir/venv/bin/pip" download -q --no-deps --no-binary :all: "kafka-python==$version" -d "$dir/package" &&
      tar xf "$dir/package"/*.tar.gz --strip-components=1 -C "$dir/src"
  } > "$work/logs/prepare" 2>&1 || { unavailable "PyPI is out of reach, or a package did not build: $work/logs/prepare"; return; }
  # What its fixtures import and the source package lacks. A broker that runs already needs no more of these than their names.
  mkdir -p "$dir/src/servers"; : > "$dir/src/test/__init__.py"
  cat > "$dir/src/test/service.py" <<'P'
class ExternalService:
    def __init__(self, host, port=None):
        self.host, self.port = host, port

    def open(self):
        pass

    close = open


class SpawnedService:
    pass
P
  touch "$dir/.whole"
}

execute() {
  # Its fixtures look for Kafka's version in a folder of this name; none of Kafka's programs is run.
  (cd "$dir/src" && KAFKA_VERSION=4.3.1 KAFKA_ROOT=$work KAFKA_URI=kafka://$bootstrap PYTHONPATH=. heavy timeout -k 10 600 "$dir/venv/bin/python" -m pytest \
    test/integration -q -p no:cacheprovider --timeout 120 --junitxml="$work/junit.xml" -k "${CONFORMANCE_ONLY:-test}" > "$work/logs/pytest" 2>&1)
  [ -s "$work/junit.xml" ] || return 1
  python3 - "$work/junit.xml" >> "$results" <<'P'
import sys
from xml.etree import ElementTree
for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
    inside = {child.tag for child in case}
    how = "fail" if inside & {"failure", "error"} else "skip" if "skipped" in inside else "pass"
    print(how, (case.get("classname").rpartition(".")[2] + "::" + case.get("name")).replace(" ", "_"))
P
}
