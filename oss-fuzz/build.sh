#!/bin/bash -eu
# Build the fuzz targets as OSS-Fuzz and ClusterFuzzLite want them: in $OUT each target with its seed corpus, options and dictionary, and
# in $OUT/lib the shared libraries that it needs, found by a run path relative to the target.
#
# Only $CC $CXX $CFLAGS $CXXFLAGS $LIB_FUZZING_ENGINE $OUT $SRC $WORK $SANITIZER are used, and nothing is fetched. tests/oss-fuzz/play sets
# them as the base image does.

cd "$SRC/wakefuzz"

# Code that watches must not be instrumented. AFL++ takes no option for that, but a list of files.
export AFL_LLVM_DENYLIST=$PWD/oss-fuzz/afl-denylist
# An old-style run path counts for the libraries that libraries need, too.
export LDFLAGS="-Wl,-rpath,\$ORIGIN/lib -Wl,--disable-new-dtags"

rm -rf "$WORK/build"
meson setup "$WORK/build" . -Dflavour=external -Dfuzzing_engine="$LIB_FUZZING_ENGINE"
targets=$(sed -n "/^targets = \[/,/\]/p" fuzz/meson.build | grep -o "'[a-z0-9_]*'" | tr -d "'")
# shellcheck disable=SC2086  # a list of words
ninja -C "$WORK/build" $(printf 'fuzz/%s ' $targets)

mkdir -p "$OUT/lib"
for target in $targets; do
    cp "$WORK/build/fuzz/$target" "fuzz/$target.options" "$OUT/"
    if [ -e "fuzz/$target.dict" ]; then
        cp "fuzz/$target.dict" "$OUT/"
    fi
    rm -f "$OUT/${target}_seed_corpus.zip"
    zip -q -j -X "$OUT/${target}_seed_corpus.zip" corpus/"$target"/*
done
# All but the C library's own, which is there wherever a program starts.
for target in $targets; do
    ldd "$WORK/build/fuzz/$target"
done | sed -n 's/^\t[^ ]* => \(\/[^ ]*\) .*/\1/p' | sort -u |
    grep -v -E '/(libc|libm|libdl|libpthread|librt|libresolv|ld-linux-x86-64)\.so' | xargs cp -L -t "$OUT/lib/"
