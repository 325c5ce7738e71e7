/*
 * Coroutines that sleep, for targets, and those who wake them from other threads; those whom nobody wakes, and two that wake each other.
 *
 * Invariants: each sleep ends; one that nobody may end is as long as it has to be, and one for work ends with that. That no wake is owed
 * over a long jump of the clock the oracle of wakes watches (core/co_sleep.h).
 */
#ifndef WAKEFUZZ_FUZZ_SCENARIO_SLEEPERS_H
#define WAKEFUZZ_FUZZ_SCENARIO_SLEEPERS_H

#include "core/co_sleep.h"
#include "fuzz/fuzz.h"
#include "fuzz/scenario.h"

#define SLEEPERS_MAX 3u

/* The others are woken by nobody: one that only sleeps, one that waits for work with a limit to the time, one that keeps to a rate. */
typedef enum ScenarioSleeperKind { SLEEPER, SLEEPER_ALONE, SLEEPER_FOR_WORK, SLEEPER_FOR_RATE } ScenarioSleeperKind;

/* going and ended are for windows: raw atomics. */
typedef struct ScenarioSleeper {
    QemuCoSleep w;
    ScenarioSleeperKind kind;
    int64_t ns;
    unsigned sleeps, wakes;
    bool stop; /* atomic, of the program: the sleeper reads it before each sleep */
    int going, ended; /* raw: it has read stop, and is not asleep yet; it will sleep no more */
} ScenarioSleeper;

typedef struct ScenarioSleepers {
    ScenarioSleeper all[SLEEPERS_MAX];
    unsigned count;
} ScenarioSleepers;

/* As many as the input says, in the io threads by turns, and for each, where the input says so, a waker in the next io thread.
 * scenario_wait() waits for them. Main thread, like all of these. */
void scenario_sleepers_start(ScenarioSleepers *sleepers, Scenario *scenario, FuzzInput *in);

/* Wake the first one. Before scenario_wait() stop all: none begins another sleep. */
void scenario_sleepers_wake_one(ScenarioSleepers *sleepers);
void scenario_sleepers_stop(ScenarioSleepers *sleepers);

/* Two in the first io thread that wake each other, so often that a wake must not enter the other one from within. */
typedef struct ScenarioRelay {
    QemuCoSleep sleeps[2];
    struct ScenarioRunner {
        QemuCoSleep *mine, *others;
        bool first;
    } runners[2];
} ScenarioRelay;

void scenario_relay_start(ScenarioRelay *relay, Scenario *scenario);

#endif
