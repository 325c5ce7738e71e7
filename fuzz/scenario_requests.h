/*
 * A client's requests through a backend, for targets: of all kinds, also such as must fail.
 *
 * Invariants that they check: each is completed once; it fails where it must, and else by a disk or for want of a medium.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_REQUESTS_H
#define WAKEFUZZ_FUZZ_SCENARIO_REQUESTS_H

#include "core/block_backend.h"
#include "fuzz/scenario.h"

#define SCENARIO_REQUESTS_MAX        8u
#define SCENARIO_REQUESTS_DISK_BYTES 2048 /* the length of each medium */
#define SCENARIO_REQUEST_KINDS       11u /* those from 8 on are for callers without coroutines, and complete in the main thread */

typedef struct ScenarioRequests ScenarioRequests;

typedef struct ScenarioRequest {
    ScenarioRequests *requests;
    unsigned kind;
    uint8_t data[SCENARIO_REQUESTS_DISK_BYTES];
    QEMUIOVector qiov;
    bool done;
} ScenarioRequest;

struct ScenarioRequests {
    Scenario *scenario;
    BlockBackend *blk;
    void (*ended)(void *opaque); /* called after each; any thread */
    void *opaque;
    ScenarioRequest all[SCENARIO_REQUESTS_MAX];
    unsigned count;
    int under_way; /* raw */
    int failed; /* raw: those that have failed by a disk */
};

/* Begin one, in the context of that number (scenario_context()) where it is a coroutine; beyond SCENARIO_REQUESTS_MAX nothing happens. Main
 * thread. */
void scenario_requests_submit(ScenarioRequests *requests, unsigned kind, unsigned home);

/* At the end: all are completed. */
void scenario_requests_check(const ScenarioRequests *requests);

#endif
