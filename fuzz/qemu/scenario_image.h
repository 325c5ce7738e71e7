/*
 * Disk images of the lane's targets: files of the simulated OS, which live in memory and are gone with the execution. Any thread of a scenario;
 * blocks nobody.
 */
#ifndef WAKEFUZZ_FUZZ_QEMU_SCENARIO_IMAGE_H
#define WAKEFUZZ_FUZZ_QEMU_SCENARIO_IMAGE_H

#include "fuzz/qemu/scenario.h"

/* A file of this many bytes, each of them the same. */
void scenario_make_raw(const char *name, size_t bytes, uint8_t pattern);

/* An empty qcow2 image (version 3, refcounts of 16 bits) of this many bytes, at most as much as one L2 table maps. */
void scenario_make_qcow2(const char *name, unsigned cluster_bits, uint64_t disk_bytes);

/*
 * A vmdk image of several files: the descriptor, and what it names: "e0", "e1" and so on, flat extents of these numbers of bytes, full of
 * zeroes. Each begins where the one before ends. At most 10.
 */
void scenario_make_vmdk(const char *name, const size_t *extent_bytes, unsigned extent_count);

/* What a span of a file holds: the byte that it is full of; the scenario's invariant is violated where it is not. */
uint8_t scenario_file_pattern(const char *name, off_t offset, size_t bytes);

/* The same for memory: -1 where the bytes are not all the same. */
int scenario_pattern(const uint8_t *buffer, size_t bytes);

#endif
