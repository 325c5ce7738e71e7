/* The table of racy programs. */
#include "programs.h"

static const RacyProgram programs[] = {
    { "lost-update", lost_update, 0, "assertion", "two threads add to a counter with a read and a write" },
    { "abba-deadlock", abba_deadlock, 0, "deadlock", "two threads take two locks in opposite orders" },
    { "philosophers-5", philosophers, 5, "deadlock", "five threads each hold one lock and want their neighbour's" },
    { "order-violation-3", order_violation, 3, "assertion", "a reader between two writes of one of 3 setters" },
    { "order-violation-20", order_violation, 20, "assertion", "... of one of 20 setters" },
    { "order-violation-100", order_violation, 100, "assertion", "... of one of 100 setters" },
    { "two-stage-2", two_stage, 2, "assertion", "a pair of values under two locks is read between the updates, one writer" },
    { "two-stage-100", two_stage, 100, "assertion", "... 99 writers" },
    { "aba-stack", aba_stack, 0, "assertion", "a lock-free stack whose head comes back to an old value" },
    { "lost-wakeup-flag", lost_wakeup_flag, 0, "missed-wakeup", "a flag is checked before the lock of its condition is taken" },
    { "signal-before-wait", signal_before_wait, 0, "missed-wakeup", "a wait without a condition; the signal may come first" },
    { "shared-condition", shared_condition, 0, "missed-wakeup", "producers and consumers share a condition and wake only one" },
};

const RacySuite racy_programs = { programs, sizeof(programs) / sizeof(programs[0]) };
