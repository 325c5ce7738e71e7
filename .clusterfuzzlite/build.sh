#!/bin/bash -eu
# ClusterFuzzLite builds what OSS-Fuzz builds.
exec "$SRC/wakefuzz/oss-fuzz/build.sh"
