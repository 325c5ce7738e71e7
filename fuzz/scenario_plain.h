/*
 * A job of no block node, from its beginning to its end: a driver that has nothing but what a job must have, and perhaps cancel(). Main thread.
 *
 * Invariants: it does nothing while it is paused, for however many reasons; it refuses to be completed; it comes to its end promptly when it is
 * cancelled, though it wants to sleep for minutes.
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_PLAIN_H
#define WAKEFUZZ_FUZZ_SCENARIO_PLAIN_H

#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

/* The input says where it runs, and what is done to it. Polls. */
void scenario_plain_job(Scenario *scenario, FuzzInput *in);

#endif
